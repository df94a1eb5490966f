#include "launcher/data/sequence_packer.h"

#include <algorithm>
#include <utility>

#include "models/batch.h"
#include "runtime/error.h"

namespace timepipe {

SequencePacker::SequencePacker(std::vector<int64_t> starts, int64_t end,
                               int64_t length, int64_t mini_batch_size)
    : borders_(std::move(starts)),
      length_(length),
      mini_batch_size_(mini_batch_size) {
  if (borders_.empty() || borders_.front() >= end) return;
  Place place{0, borders_.front()};
  borders_.push_back(end);
  while (place.token < end) {
    begins_.push_back(place);
    int64_t& labels = labels_.emplace_back(0);
    for (const PackedPiece& piece : fill(place)) {
      labels += piece.tokens - (piece.ends ? 1 : 0);
    }
  }
}

std::vector<PackedPiece> SequencePacker::pieces(int64_t sequence) const {
  Place place = begins_.at(static_cast<std::size_t>(sequence));
  return fill(place);
}

std::vector<PackedPiece> SequencePacker::fill(Place& place) const {
  std::vector<PackedPiece> pieces;
  int64_t row = 0;
  while (row < length_ && place.token < borders_.back()) {
    const int64_t begin = borders_[place.document];
    const int64_t end = borders_[place.document + 1];
    const int64_t tokens = std::min(end - place.token, length_ - row);
    pieces.push_back({.row = row,
                      .first = place.token,
                      .tokens = tokens,
                      .starts = place.token == begin,
                      .ends = place.token + tokens == end});
    row = num_chunks(row + tokens, mini_batch_size_) * mini_batch_size_;
    place.token += tokens;
    if (place.token == end) ++place.document;
  }
  return pieces;
}

std::vector<int64_t> document_starts(const TokenFile& file, int64_t begin,
                                     int64_t end, int64_t bos_id,
                                     int64_t vocab_size) {
  std::vector<int64_t> starts;
  if (begin >= end) return starts;
  starts.push_back(begin);
  if (const auto& listed = file.layout().documents; !listed.empty()) {
    const auto from = std::ranges::upper_bound(listed, begin);
    const auto to = std::ranges::lower_bound(listed, end);
    starts.insert(starts.end(), from, std::max(from, to));
    return starts;
  }
  require(bos_id >= 0,
          "data.bos_id: -1, expected the token that starts a "
          "document: ",
          file.path(), " doesn't list its documents");
  constexpr int64_t kAtOnce = 1 << 20;
  std::vector<int64_t> ids;
  for (int64_t first = begin; first < end; first += kAtOnce) {
    ids.resize(std::min(kAtOnce, end - first));
    file.read(first, ids, vocab_size);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const int64_t token = first + static_cast<int64_t>(i);
      if (ids[i] == bos_id && token > begin) starts.push_back(token);
    }
  }
  return starts;
}

}  // namespace timepipe
