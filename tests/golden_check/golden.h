#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "launcher/config/config.h"
#include "launcher/trainer/trainer.h"
#include "runtime/safetensors.h"
#include "runtime/transfer.h"
#include "tests/golden_check/report.h"

namespace timepipe::golden {

struct Options {
  std::string directory;
  DType dtype = DType::kF64;
  Device device = {};
  int64_t chunk = 0;  // wanted chunk length; 0: the whole sequence
  int64_t hot_rounds = 1;
  int64_t data_ranks = 1;
  // Sequences side by side. So many copies of a folder's sequences are run, one
  // after the other: micro-batches hold copies and mixtures of them.
  int64_t micro_batch = 1;
};

// A folder of the form described in the goldens README.
struct Case {
  explicit Case(const std::string& directory);

  bool has(const std::string& name) const { return tensors.contains(name); }
  HostArray array(const std::string& name) const;
  // Throws InvalidArgument naming it if it has another shape.
  HostArray array(const std::string& name, const Shape& expected) const;
  Values values(const std::string& name) const;
  // A number of notes.json at a path of keys, or `otherwise`.
  double note(const std::vector<std::string>& path, double otherwise) const;
  // Tensors that nobody asked for. Those of the reference's float32 run, which
  // calibrate tolerances, are left out.
  std::vector<std::string> unread() const;

  SafetensorsFile tensors;
  nlohmann::json notes;  // an empty object if the folder has none

 private:
  mutable std::set<std::string> read_;
};

// config.json as the official library writes it.
ModelConfig read_model_config(const std::string& path);
// Copies the folder's tensors into the weights; all must be there, no others.
void load_weights(Context& ctx, const std::string& path,
                  ParameterStore& weights);

Values to_values(const HostArray& array);
Values to_values(Context& ctx, const Tensor& tensor);
// x, x, ...: so many copies one after the other.
template <class T>
std::vector<T> repeated(const std::vector<T>& x, int64_t copies) {
  std::vector<T> all;
  for (int64_t i = 0; i < copies; ++i)
    all.insert(all.end(), x.begin(), x.end());
  return all;
}

Values scaled(Values values, double factor);
// Of one parameter in a flat buffer of all.
Values values_of(const Parameter& p, const Values& flat);

// The values as a tensor. Throws InvalidArgument naming it unless their number
// is that of the shape.
Tensor from_values(Context& ctx, DType dtype, const std::string& name,
                   const Values& values, Shape shape);

// The smallest multiple of the mini-batch >= the wanted length, and not below
// the rows that a convolution looks back.
int64_t chunk_length(const Options& options, int64_t mini_batch, int64_t tokens,
                     int64_t halo_rows);

// How the folder's sequences, `tokens` long, are run: the chunk length is told
// to the report.
struct Layout {
  TrainConfig train;
  ParallelConfig parallel;
};
Layout layout_of(const Options& options, const ModelConfig& config,
                 int64_t tokens, const Communicator& world, Report& report);

// The larger of a float32 limit and ten times the reference's own float32
// error; in float64, the limit of the design.
Tolerance value_tolerance(DType dtype, double f32_limit, double reference);
Tolerance gradient_tolerance(DType dtype, const std::string& parameter,
                             double reference);

// Values that ranks compute in pieces: full-size arrays, NaN where this rank
// has nothing, merged over the ranks at the end.
class Pieces {
 public:
  // Of so many sequences of one length.
  Pieces(int64_t sequences, int64_t tokens)
      : sequences_(sequences), tokens_(tokens) {}

  // Rows [row, row + value.dim(0)) of a chunk whose first member is sequence
  // `first`; [sequences, tokens, ...] in all. Padding is left out.
  void put_rows(const std::string& name, int64_t first, const ChunkView& view,
                int64_t row, const HostArray& value);
  // States of `members` sequences, one after the other; [sequences, ...] in
  // all.
  void put_states(const std::string& name, int64_t first, int64_t members,
                  const HostArray& value);
  bool is_last(const ChunkView& view) const {
    return view.first + view.rows.tokens == tokens_;
  }
  const Values& of_this_rank(const std::string& name) const {
    return arrays_.at(name);
  }
  // Merges over ranks. Collective: every rank asks for the same names.
  Values merged(Communicator& world, const std::string& name,
                std::size_t size) const;

 private:
  // Place 0 of the array, of `count` in all, `width` each.
  Values::iterator array(const std::string& name, int64_t count, int64_t width);

  int64_t sequences_, tokens_;
  std::map<std::string, Values> arrays_;
};

// Records what a run shows.
Observer record(Context& ctx, Pieces& pieces, const ProcessGrid& grid);

// Sequences of one document, its tokens and labels all 0, on the chunk grid.
// `continues`: they don't start from the learned state.
ChunkedBatch blank_chunks(int64_t sequences, int64_t tokens, bool continues,
                          const ChunkGrid& grid);
// Of x, [sequences*tokens, width], the rows of a chunk whose first member is
// sequence `first`; padding is 0.
Tensor rows_of_chunk(Context& ctx, const Tensor& x, int64_t tokens,
                     int64_t first, const ChunkView& view);

// Of the flat states [B, state] of a layer: "W1", "b1", ... [B, nh, ...].
std::map<std::string, Values> split_state(const TttShape& shape,
                                          const Values& states, int64_t batch);

// [B, L, nh*f] -> [B, nh, L, f].
Values heads_first(const Values& x, int64_t batch, int64_t tokens,
                   int64_t heads);

void check_layer(const Options& options, const Case& golden, Report& report);
// A layer case in the decoding form.
void check_primal(const Options& options, const Case& golden, Report& report);
// Prefill and decoding.
void check_gen(const Options& options, const Case& golden, Report& report);
void check_module(const Options& options, const Case& golden,
                  Communicator& world, Report& report);
void check_model(const Options& options, const Case& golden,
                 Communicator& world, Report& report);
void check_hf(const Options& options, const Case& golden, Communicator& world,
              Report& report);
void check_optimizer(const Options& options, const Case& golden,
                     Communicator& world, Report& report);

}  // namespace timepipe::golden
