#pragma once

// The order of all work of a step, as data: make_schedule() is the only place
// that decides it; the executor runs a list, the virtual clock prices it.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace timepipe {

// The parts of a chunk's visit. A block (layer) runs kConv, kProject, kScan,
// kOutput in this order, backward in reverse; kEmbed and kHead (last norm,
// output embedding, loss) belong to no layer.
enum class Part : uint8_t { kEmbed, kConv, kProject, kScan, kOutput, kHead };
inline constexpr int kParts = 6;

// What crosses a chunk border in a layer, in the order in which it is ready:
// last rows of the block's input, last rows of the shared q/k projection, the
// hidden state.
enum class Border : uint8_t { kHaloX, kHaloQk, kState };
inline constexpr int kBorders = 3;

enum class Phase : uint8_t { kForward, kRecompute, kBackward };

// Messages from one rank to one other rank travel on lanes, each in its order:
// borders, gradients of borders, and borders carried from the run before.
enum class Lane : uint8_t { kForward, kGradient, kCarried };
inline constexpr int kLanes = 3;

const char* name_of(Part part);      // "embed", "conv", ...
const char* name_of(Border border);  // "halo_x", "halo_qk", "state"
const char* name_of(Phase phase);    // "forward", "recompute", "backward"

// A border of a layer: of kOutput it is the next layer's kHaloX.
struct LayerBorder {
  Border border;
  int64_t layer;
};

// The border that a part reads from the previous chunk (forward) or whose
// gradient it gives to it (backward), and the one that it gives to the next
// chunk (forward) or whose gradient it takes from it (backward). Layer 0's
// kHaloX is not among them: it comes from the previous token ids.
std::optional<LayerBorder> border_in(Part part, int64_t layer);
std::optional<LayerBorder> border_out(Part part, int64_t layer, int64_t layers);

// What runs as one is a micro-batch: one or several sequences side by side. One
// chunk of it, as far as the order of work depends on it.
struct ChunkShape {
  int64_t tokens;       // of each of its sequences
  bool takes_state;     // the first token of one continues a hidden state
  bool takes_halo;      // the first token of one continues a document
  bool detached;        // no gradient goes to the chunk before it
  int64_t members = 1;  // sequences

  bool takes(Border border) const {
    return border == Border::kState ? takes_state : takes_halo;
  }
  bool operator==(const ChunkShape&) const = default;
};

using MicroBatchShape = std::vector<ChunkShape>;

// Sizes and prices of one layer. Prices are integers in one unit of the
// caller's choice per token, equal on all ranks, so that all ranks derive the
// same lists. The entries of kEmbed and kHead are unused.
struct LayerShape {
  // Of one sequence; 0: nothing crosses.
  std::array<int64_t, kBorders> border_bytes{};
  std::array<int64_t, kParts> forward{}, backward{};

  int64_t bytes(Border border) const {
    return border_bytes[static_cast<std::size_t>(border)];
  }
  bool operator==(const LayerShape&) const = default;
};

struct ScheduleShape {
  int ranks = 1;  // time ranks
  std::vector<LayerShape> layers;
  std::vector<MicroBatchShape> micro_batches;
  int64_t hot_rounds = 0;  // last chunks of a rank, per micro-batch, that keep
                           // their activations; others are recomputed
  bool training = true;    // false: forward only, every chunk with its head
  // What the last chunk of every micro-batch would give to a next one is kept,
  // for the first chunk of that micro-batch in the next run.
  bool keeps_borders = false;
  // Per micro-batch, the time rank on which that lies which the run before kept
  // for its first chunk. Empty: on the ranks of the first chunks. No matter
  // where the first chunk continues nothing.
  std::vector<int> carried_from;
  int64_t embed_price = 0, head_price = 0;  // per token; head: with backward
  int64_t message_price = 0;                // latency of any message

  // Chunks are dealt to the ranks like cards, micro-batch after micro-batch:
  // chunk c of the first micro-batch is on rank c mod ranks, the next
  // micro-batch goes on where this one ended.
  int rank_of(int64_t micro_batch, int64_t chunk) const;
  // Slabs of activations (all layers of one chunk) that a rank needs at most.
  int64_t num_slabs() const { return hot_rounds > 1 ? hot_rounds : 1; }
  // Of a border, of all its sequences; 0: nothing crosses.
  int64_t bytes(int64_t micro_batch, LayerBorder b) const;
  // Whether the border (or its gradient) goes from `chunk` - 1 to `chunk`; not
  // if either is outside the micro-batch.
  bool crosses(int64_t micro_batch, int64_t chunk, LayerBorder b) const;
  bool gradient_crosses(int64_t micro_batch, int64_t chunk,
                        LayerBorder b) const;
  // Whether `chunk`, the last, leaves the border for the next run: layer 0 has
  // no kHaloX.
  bool keeps(int64_t micro_batch, int64_t chunk, LayerBorder b) const;
  // Whether the first chunk takes the border from what the run before kept:
  // layer 0 has no kHaloX.
  bool continues(int64_t micro_batch, LayerBorder b) const;
  // The rank on which that lies.
  int carried_rank(int64_t micro_batch) const;
  // What a compute operation costs: price per token times tokens of all its
  // sequences.
  int64_t price(Phase phase, Part part, int64_t layer, int64_t micro_batch,
                int64_t chunk) const;

  bool operator==(const ScheduleShape&) const = default;
};

// carried_from of the run after one of this shape.
std::vector<int> ranks_of_last_chunks(const ScheduleShape& shape);

inline constexpr int32_t kColdSlab = -1;  // one layer's activations, reused by
                                          // the next layer

struct Operation {
  enum class Kind : uint8_t { kCompute, kSend, kReceive };

  Kind kind;
  Phase phase;    // kBackward for the sends and receives of gradients
  Part part;      // kCompute; of a message, the part that gives or reads it
  Border border;  // kSend, kReceive
  int32_t micro_batch;
  int32_t layer;     // 0 for kEmbed and kHead
  int32_t chunk;     // kCompute: the chunk. Messages: the chunk on the RIGHT of
                     // the border that is crossed, in either direction; 0 if
                     // it is carried from the run before
  int32_t slab = 0;  // kCompute: slab of activations, or kColdSlab
  int32_t peer = 0;  // kSend, kReceive: time rank
  int64_t bytes = 0;
  // kSend, kReceive: which message it is on its lane, from 0.
  int64_t number = 0;

  bool operator==(const Operation&) const = default;
};

Lane lane_of(const Operation& message);

using OperationList = std::vector<Operation>;

// The lists of all ranks. A list is run from top to bottom; a compute
// operation waits for the border that it reads, if that crosses ranks; a
// receive is posted where it stands and doesn't wait; a send neither. Both may
// hold up later ones of their lane. If both chunks of a border are on one rank,
// no message is in the lists.
//
// Rules (docs/design.md): chunks of a rank are opened in order, forward
// ascending, backward descending, micro-batch after micro-batch; ready backward
// work goes before forward work before recomputation; a cold chunk's forward
// stops after the last layer's scan; hot chunks and recomputations reserve one
// of num_slabs() slabs when they open, in the order of micro-batches; a
// micro-batch's recomputation opens when all its forward visits on that rank
// have ended. A message is sent right after the work that produces it; borders
// that are carried, before all work. It is received late: just before the work
// that precedes the one that reads it. On each lane receives stand in the order
// of the sends, some sooner than that for it, so that transports need no tags.
// The ranks are simulated with the prices, so that the lists are deadlock-free
// whatever real work and messages take, also if each message holds its lane
// until it is met. Throws InvalidArgument if there is no rank or layer, on an
// empty micro-batch, on a negative size, and if carried_from doesn't name a
// rank for each micro-batch.
std::vector<OperationList> make_schedule(const ScheduleShape& shape);

}  // namespace timepipe
