#include "tests/parallel/communicator_checks.h"

#include "tests/parallel/collective_checks.h"
#include "tests/parallel/message_checks.h"

namespace timepipe::testing {

void PrintTo(const CommunicatorCheck& check, std::ostream* out) {
  *out << check.name;
}

const std::vector<CommunicatorCheck>& communicator_checks() {
  static const std::vector<CommunicatorCheck> checks = {
      {"RingOfMessages", ring_of_messages},
      {"LanesAreApart", lanes_are_apart},
      {"AnyDepthAndLengthFit", any_depth_and_length_fit},
      {"NamesMisplacedMessages", names_misplaced_messages},
      {"EqualTagsArriveInOrder", equal_tags_arrive_in_order},
      {"LargeMessages", large_messages},
      {"RefusesBadPeers", refuses_bad_peers},
      {"NamesBothSizesIfTheyDiffer", names_both_sizes_if_they_differ},
      {"BlockedNamesRanksOfTheWorld", blocked_names_ranks_of_the_world},
      {"BlockedReceiveTellsWhatItWaitedFor",
       blocked_receive_tells_what_it_waited_for},
      {"BlockedSendTellsWhatItWaitedFor",
       blocked_send_tells_what_it_waited_for},
      {"ReduceScatterIsTheSum", reduce_scatter_is_the_sum},
      {"AllGatherConcatenates", all_gather_concatenates},
      {"CollectivesRefuseWrongSizes", collectives_refuse_wrong_sizes},
      {"OperationsUnderWayTogether", operations_under_way_together},
      {"SplitGroupsRanksOfAColor", split_groups_ranks_of_a_color},
      {"BlockedCollectiveTellsWhich", blocked_collective_tells_which},
  };
  return checks;
}

}  // namespace timepipe::testing
