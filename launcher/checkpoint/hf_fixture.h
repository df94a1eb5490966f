#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/language_model.h"

namespace timepipe {

// FOLDER/timepipe_fixture.safetensors: what an exported model must say, so that
// any program that reads the folder can be checked. Tensors `input_ids` [1,T]
// i64, pseudo-random; `logits` [1,T,vocab] f64, computed in f64 from the
// weights as the folder holds them; `f32_max_abs_error` [1], how far this
// program's f32 logits are from those.

inline constexpr const char* kFixtureFile = "timepipe_fixture.safetensors";

// Of a few tokens, [T,vocab]. Throws InvalidArgument naming a bad id.
HostArray logits_of(Context& ctx, LanguageModel& model,
                    std::span<const int64_t> ids);

// Pseudo-random tokens: two mini-batches and a part of the third, if those are
// of common size.
std::vector<int64_t> fixture_ids(const ModelConfig& config);

// Throws InvalidArgument if a logit isn't finite, IoError.
void write_fixture(const std::string& hf_folder);

struct FixtureCheck {
  double max_abs;     // difference of f32 logits from the fixture's
  double tolerance;   // 10 times the f32 error at export, or rounding if larger
  int64_t token, id;  // where it is

  bool ok() const { return max_abs <= tolerance; }  // false for NaN
};

// Reads the folder back and computes the logits again. Throws InvalidArgument
// or IoError if folder or fixture can't be read.
FixtureCheck check_fixture(const std::string& hf_folder);

}  // namespace timepipe
