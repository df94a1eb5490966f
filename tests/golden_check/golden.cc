#include "tests/golden_check/golden.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <utility>

#include "launcher/huggingface/hf_config.h"
#include "runtime/files.h"

namespace timepipe::golden {
namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw IoError(path + ": can't be read");
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    throw InvalidArgument(path + ": " + error.what());
  }
}

void require_shape(const std::string& name, const HostArray& array,
                   const Shape& expected) {
  require(array.shape() == expected, name + ": shape " +
                                         to_string(array.shape()) +
                                         ", expected " + to_string(expected));
}

}  // namespace

Case::Case(const std::string& directory)
    : tensors(SafetensorsFile::read(directory + "/case.safetensors")),
      notes(nlohmann::json::object()) {
  const std::string path = directory + "/notes.json";
  if (std::filesystem::exists(path)) notes = read_json(path);
  require(notes.is_object(), path + ": expected a JSON object");
}

HostArray Case::array(const std::string& name) const {
  read_.insert(name);
  return tensors.get(name);
}

HostArray Case::array(const std::string& name, const Shape& expected) const {
  HostArray array = this->array(name);
  require_shape(name, array, expected);
  return array;
}

Values Case::values(const std::string& name) const {
  return to_values(array(name));
}

double Case::note(const std::vector<std::string>& path,
                  double otherwise) const {
  const nlohmann::json* at = &notes;
  for (const std::string& key : path) {
    if (!at->is_object() || !at->contains(key)) return otherwise;
    at = &at->at(key);
  }
  return at->is_number() ? at->get<double>() : otherwise;
}

std::vector<std::string> Case::unread() const {
  std::vector<std::string> names;
  for (const std::string& name : tensors.names()) {
    if (!read_.contains(name) && !name.ends_with("_f32")) names.push_back(name);
  }
  return names;
}

ModelConfig read_model_config(const std::string& path) {
  return parse_hf_config(read_text(path), path).model;
}

void load_weights(Context& ctx, const std::string& path,
                  ParameterStore& weights) {
  const SafetensorsFile file = SafetensorsFile::read(path);
  const auto& parameters = weights.layout().parameters();
  require(file.names().size() == parameters.size(),
          path + ": " + std::to_string(file.names().size()) +
              " tensors, expected " + std::to_string(parameters.size()));
  for (const Parameter& p : parameters) {
    const HostArray values = file.get(p.name);
    require_shape(p.name, values, p.shape);
    upload(ctx, converted(values, weights.dtype()), weights.value(p.name));
  }
}

Values to_values(const HostArray& array) {
  Values values(array.numel());
  if (array.dtype() == DType::kI64) {
    std::ranges::copy(array.values<int64_t>(), values.begin());
    return values;
  }
  dispatch_stored(array.dtype(), [&](auto zero) {
    std::ranges::copy(array.values<decltype(zero)>(), values.begin());
  });
  return values;
}

Values to_values(Context& ctx, const Tensor& tensor) {
  return to_values(download(ctx, tensor));
}

Values scaled(Values values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

Values values_of(const Parameter& p, const Values& flat) {
  const auto begin = flat.begin() + p.offset;
  return {begin, begin + p.count};
}

Tensor from_values(Context& ctx, DType dtype, const std::string& name,
                   const Values& values, Shape shape) {
  require(std::ssize(values) == numel_of(shape),
          name + ": " + std::to_string(values.size()) +
              " elements, expected shape " + to_string(shape));
  const HostArray array(std::move(shape), std::span(values));
  return upload(ctx, converted(array, dtype));
}

int64_t chunk_length(const Options& options, int64_t mini_batch, int64_t tokens,
                     int64_t halo_rows) {
  const int64_t wanted =
      std::max(options.chunk > 0 ? options.chunk : tokens, halo_rows);
  return num_chunks(wanted, mini_batch) * mini_batch;
}

Layout layout_of(const Options& options, const ModelConfig& config,
                 int64_t tokens, const Communicator& world, Report& report) {
  Layout layout;
  layout.train.dtype = options.dtype;
  layout.train.hot_rounds = options.hot_rounds;
  layout.train.chunk_tokens =
      chunk_length(options, config.mini_batch_size, tokens, config.halo_rows());
  layout.parallel.data = options.data_ranks;
  layout.parallel.time = world.size() / options.data_ranks;
  layout.train.micro_batch = options.micro_batch;
  report.remark("chunk_tokens " + std::to_string(layout.train.chunk_tokens));
  return layout;
}

Tolerance value_tolerance(DType dtype, double f32_limit, double reference) {
  if (dtype == DType::kF64) return relative(1e-9);
  return relative(std::max(f32_limit, 10 * reference));
}

Tolerance gradient_tolerance(DType dtype, const std::string& parameter,
                             double reference) {
  if (dtype == DType::kF64) return relative(1e-8);
  const bool cancels = parameter.ends_with("learnable_ttt_lr_bias") ||
                       parameter.ends_with("learnable_token_idx") ||
                       parameter.ends_with("grad.token_idx");
  return relative(std::max(cancels ? 1e-4 : 1e-5, 10 * reference));
}

Values::iterator Pieces::array(const std::string& name, int64_t count,
                               int64_t width) {
  Values& array = arrays_[name];
  if (array.empty()) {
    array.assign(count * width, std::numeric_limits<double>::quiet_NaN());
  }
  return array.begin();
}

void Pieces::put_rows(const std::string& name, int64_t first,
                      const ChunkView& view, int64_t row,
                      const HostArray& value) {
  const Values values = to_values(value);
  const int64_t rows = value.shape().at(0);
  const int64_t width = std::ssize(values) / rows;
  const auto to = array(name, sequences_ * tokens_, width);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t member = (row + r) / view.rows.stride;
    const int64_t place = (row + r) % view.rows.stride;
    if (place >= view.rows.tokens) continue;  // padding
    const int64_t token = (first + member) * tokens_ + view.first + place;
    std::copy_n(values.begin() + r * width, width, to + token * width);
  }
}

void Pieces::put_states(const std::string& name, int64_t first, int64_t members,
                        const HostArray& value) {
  const Values values = to_values(value);
  const int64_t width = std::ssize(values) / members;
  const auto to = array(name, sequences_, width);
  std::ranges::copy(values, to + first * width);
}

Values Pieces::merged(Communicator& world, const std::string& name,
                      std::size_t size) const {
  Values mine(size, std::numeric_limits<double>::quiet_NaN());
  const auto found = arrays_.find(name);
  if (found != arrays_.end() && found->second.size() == size) {
    mine = found->second;
  }
  Values all(size * world.size());
  const std::vector<int64_t> bytes(world.size(), size * sizeof(double));
  world
      .all_gather(std::as_bytes(std::span(std::as_const(mine))), bytes,
                  std::as_writable_bytes(std::span(all)))
      .wait();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!std::isnan(all[i])) mine[i % size] = all[i];
  }
  return mine;
}

Observer record(Context& ctx, Pieces& pieces, const ProcessGrid& grid) {
  return [&ctx, &pieces, &grid](const std::string& name, const ChunkView& view,
                                int64_t row, const Tensor& value) {
    const int64_t first = grid.share().first_sequence(view.micro_batch);
    if (!name.starts_with("state.")) {
      pieces.put_rows(name, first, view, row, download(ctx, value));
    } else if (pieces.is_last(view)) {
      pieces.put_states(name, first, view.rows.members, download(ctx, value));
    }
  };
}

ChunkedBatch blank_chunks(int64_t sequences, int64_t tokens, bool continues,
                          const ChunkGrid& grid) {
  const std::vector<int64_t> zeros(tokens, 0);
  const Sequence sequence{.ids = zeros,
                          .targets = zeros,
                          .documents = {{0, tokens, !continues}},
                          .loss_scale = 0,
                          .continues = continues};
  return {Batch(sequences, sequence), grid};
}

Tensor rows_of_chunk(Context& ctx, const Tensor& x, int64_t tokens,
                     int64_t first, const ChunkView& view) {
  const auto [members, n, stride] = view.rows;
  Tensor rows = ctx.zeros({view.rows.count(), x.dim(1)}, x.dtype());
  for (int64_t m = 0; m < members; ++m) {
    const int64_t begin = (first + m) * tokens + view.first;
    copy(ctx, x.slice(begin, begin + n),
         rows.slice(m * stride, m * stride + n));
  }
  return rows;
}

std::map<std::string, Values> split_state(const TttShape& shape,
                                          const Values& states, int64_t batch) {
  const int64_t H = shape.heads, D = shape.head_size;
  std::vector<std::pair<std::string, int64_t>> pieces;
  if (shape.inner == InnerModel::kLinear) {
    pieces = {{"W1", H * D * D}, {"b1", H * D}};
  } else {
    pieces = {{"W1", 4 * H * D * D},
              {"b1", 4 * H * D},
              {"W2", 4 * H * D * D},
              {"b2", H * D}};
  }
  std::map<std::string, Values> result;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t offset = b * shape.state_size();
    for (const auto& [name, count] : pieces) {
      const auto begin = states.begin() + offset;
      result[name].insert(result[name].end(), begin, begin + count);
      offset += count;
    }
  }
  return result;
}

Values heads_first(const Values& x, int64_t batch, int64_t tokens,
                   int64_t heads) {
  const int64_t f = static_cast<int64_t>(x.size()) / (batch * tokens * heads);
  Values y(x.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        std::copy_n(x.begin() + ((b * tokens + t) * heads + h) * f, f,
                    y.begin() + ((b * heads + h) * tokens + t) * f);
      }
    }
  }
  return y;
}

}  // namespace timepipe::golden
