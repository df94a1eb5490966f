#pragma once

#include <algorithm>
#include <cstdint>

#include "models/batch.h"

namespace timepipe::testing {

// Positions [begin, end) of a sequence as that of a step of its own, which goes
// on from the step before and hands on to the next, unless a document resets
// there.
inline Sequence piece_of(const Sequence& whole, int64_t begin, int64_t end,
                         int64_t halo_rows) {
  Sequence piece{
      .ids = {whole.ids.begin() + begin, whole.ids.begin() + end},
      .targets = {whole.targets.begin() + begin, whole.targets.begin() + end},
      .documents = {},
      .loss_scale = whole.loss_scale,
      .continues = begin > 0,
      .hands_on = true};
  for (const Document& document : whole.documents) {
    const int64_t first = std::max(document.first, begin);
    const int64_t last = std::min(document.first + document.tokens, end);
    if (document.first == begin && document.resets) piece.continues = false;
    if (document.first == end && document.resets) piece.hands_on = false;
    if (first >= last) continue;
    if (document.first < begin) {
      piece.ids_before.assign(whole.ids.begin() + begin - halo_rows,
                              whole.ids.begin() + begin);
    }
    piece.documents.push_back({first - begin, last - first,
                               document.first >= begin && document.resets});
  }
  return piece;
}

}  // namespace timepipe::testing
