#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "launcher/checkpoint/open_model.h"
#include "launcher/commands/label_bytes.h"
#include "launcher/data/sequence_packer.h"
#include "launcher/generate/loss_by_position.h"
#include "launcher/process/read_progress.h"
#include "models/decoder.h"
#include "runtime/token_file.h"

namespace timepipe {

// Reads documents of a file as training reads them
// (launcher/data/train_data.h): every window starts from the learned state; in
// it a document sees what `documents` says of those before it, and its last
// token has no label. A file that is one text is one document.
class Evaluation {
 public:
  // bytes: gets every label whose loss counts; must outlive this.
  Evaluation(Context& ctx, const OpenModel& opened, const TokenFile& file,
             Documents documents, LabelBytes& bytes);

  // The losses of all labels, by how many tokens the hidden state had read.
  // Throws IoError, or InvalidArgument naming file, position and id.
  LossByPosition run(const SequencePacker& windows, ReadProgress& progress);

 private:
  // Tokens [first, first + tokens) of the file; last: of a document from whose
  // state the next goes on.
  void read(int64_t first, int64_t tokens, bool last, ReadProgress& progress);
  // row: of the logits' first, in ids_.
  void add(int64_t row, const Tensor& logits);

  Context& ctx_;
  const TokenFile& file_;
  Documents documents_;
  LabelBytes& bytes_;
  int64_t vocab_, piece_;
  std::optional<int64_t> not_a_label_;
  Decoder decoder_;
  int64_t tokens_read_ = 0;   // by the hidden state, before ids_
  int64_t first_ = 0;         // token of the file, the first of ids_
  std::vector<int64_t> ids_;  // each is the label of the one before
  LossByPosition losses_;
};

}  // namespace timepipe
