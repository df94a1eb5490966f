#include "parallel/visit.h"

#include <algorithm>
#include <utility>

namespace timepipe {

Visit hot_forward_visit(int64_t layers) {
  Visit visit = {{Part::kEmbed, 0, {}, {}}};
  for (int64_t l = 0; l < layers; ++l) {
    for (const Part part :
         {Part::kConv, Part::kProject, Part::kScan, Part::kOutput}) {
      visit.push_back(
          {part, l, border_in(part, l), border_out(part, l, layers)});
    }
  }
  return visit;
}

Visit cold_forward_visit(int64_t layers) {
  Visit visit = hot_forward_visit(layers);
  visit.pop_back();  // The last layer's kOutput: no other chunk reads it.
  return visit;
}

Visit inference_visit(int64_t layers) {
  Visit visit = hot_forward_visit(layers);
  visit.push_back({Part::kHead, 0, {}, {}});
  return visit;
}

Visit recompute_visit(int64_t layers) {
  Visit visit = hot_forward_visit(layers);
  for (Work& work : visit) work.reads = work.gives = std::nullopt;
  return visit;
}

Visit backward_visit(int64_t layers) {
  Visit visit = inference_visit(layers);
  std::reverse(visit.begin(), visit.end());
  for (Work& work : visit) std::swap(work.reads, work.gives);
  return visit;
}

}  // namespace timepipe
