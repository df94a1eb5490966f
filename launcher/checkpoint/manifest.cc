// Reads, checks and writes manifest.json.

#include "launcher/checkpoint/manifest.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runtime/json_fields.h"
#include "runtime/number_text.h"

namespace timepipe {
namespace {

using nlohmann::json;

// No model, and no text of a configuration, comes near.
constexpr int64_t kMostElements = int64_t{1} << 48;
constexpr int64_t kMostUpdates = int64_t{1} << 48;
constexpr int64_t kMostSequences = int64_t{1} << 20;
constexpr int64_t kMostLayers = int64_t{1} << 14;
constexpr std::size_t kLongestName = 200, kLongestPath = 4096;
constexpr std::size_t kMostBytes = std::size_t{1} << 30;

Parameter parse_parameter(const JsonFields& fields, int64_t offset) {
  Parameter p{fields.text("name"), {}, offset, 1};
  for (const json& size : fields.array("shape")) {
    require(size.is_number_unsigned() && size.get<uint64_t>() >= 1 &&
                size.get<uint64_t>() <= uint64_t{kMostElements} &&
                size.get<int64_t>() <= kMostElements / p.count,
            fields.where(),
            ": shape: expected sizes of at least 1 and at most ", kMostElements,
            " elements");
    p.shape.push_back(size.get<int64_t>());
    p.count *= p.shape.back();
  }
  require(!p.name.empty() && p.name.size() <= kLongestName, fields.where(),
          ": name: ", p.name.size(), " characters, expected 1 to ",
          kLongestName);
  return p;
}

// A file of the checkpoint's own folder.
Manifest::Shard parse_shard(const JsonFields& fields) {
  Manifest::Shard shard{fields.text("file"), fields.integer("size_bytes", 1)};
  require(!shard.file.empty() && shard.file.size() <= kLongestName &&
              shard.file.find('/') == std::string::npos &&
              shard.file.find('\0') == std::string::npos &&
              shard.file.ends_with(".safetensors"),
          fields.where(), ": file: ", shard.file.substr(0, 80),
          ", expected the name of a .safetensors file in this folder");
  return shard;
}

// The pieces of each kind must make each parameter whole.
void require_whole(const Manifest& manifest, const std::string& where) {
  using Place = std::pair<std::string, std::string>;  // kind, parameter
  std::map<Place, std::vector<std::pair<int64_t, int64_t>>> places;
  for (const Manifest::Piece& piece : manifest.pieces) {
    places[{piece.kind, piece.parameter}].emplace_back(piece.first,
                                                       piece.count);
  }
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p : manifest.parameters) {
      const auto found = places.find({kind, p.name});
      int64_t covered = 0;
      if (found != places.end()) {
        std::ranges::sort(found->second);
        for (const auto& [first, count] : found->second) {
          if (first != covered || count > p.count - first) break;
          covered = first + count;
        }
        places.erase(found);
      }
      require(covered == p.count, where, ": pieces of ", kind, " of ", p.name,
              ": whole up to element ", covered, " of ", p.count,
              ", expected all, once");
    }
  }
  require(places.empty(), where, ": pieces of ",
          (places.empty() ? "" : places.begin()->first.second),
          ", which isn't among the parameters");
}

Manifest::Carried parse_carried(const JsonFields& fields, const Manifest& m) {
  Manifest::Carried carried{
      .sequence = fields.integer("sequence", 0, kMostSequences),
      .layer = fields.integer("layer", 0, kMostLayers),
      .border = fields.text("border"),
      .steps = fields.integer("steps", 0, m.steps),
      .count = fields.integer("count", 1, kMostElements),
      .shard =
          fields.integer("shard", 0, static_cast<int64_t>(m.shards.size()) - 1),
      .xxh64 = fields.hash("xxh64")};
  require(carried.border == "halo_x" || carried.border == "halo_qk" ||
              carried.border == "state",
          fields.where(), ": border: ", carried.border.substr(0, 40),
          ", expected halo_x, halo_qk or state");
  return carried;
}

// Those of a sequence were all left after the same step, each once.
void require_carried_once(const Manifest& manifest, const std::string& where) {
  std::map<int64_t, int64_t> steps;  // of the sequences
  std::set<std::string> tensors;
  for (const Manifest::Carried& carried : manifest.carried) {
    const int64_t first =
        steps.try_emplace(carried.sequence, carried.steps).first->second;
    require(carried.steps == first, where, ": ", carried.tensor(),
            ": steps: ", carried.steps, ", expected ", first,
            " as in the rest of the sequence");
    require(tensors.insert(carried.tensor()).second, where, ": ",
            carried.tensor(), ": expected once");
  }
}

Manifest::DataFile parse_data_file(const JsonFields& fields) {
  const bool of_bytes = !fields.has("tokens");
  Manifest::DataFile file{.path = fields.text("path"),
                          .hash = fields.hash(of_bytes ? "hash" : "tokens"),
                          .of_bytes = of_bytes};
  require(file.path.size() <= kLongestPath, fields.where(),
          ": path: ", file.path.size(), " characters, expected at most ",
          kLongestPath);
  return file;
}

DType parse_dtype(const JsonFields& fields) {
  const std::string name = fields.text("dtype");
  const std::optional<DType> dtype = dtype_named(name);
  if (dtype == DType::kF32 || dtype == DType::kF64) return *dtype;
  throw InvalidArgument(fields.where() + ": dtype: " + name.substr(0, 40) +
                        ", expected f32 or f64");
}

Manifest parse(const json& value, const std::string& where) {
  const JsonFields fields(value, where);
  fields.integer("format", Manifest::kFormat, Manifest::kFormat);
  Manifest m;
  m.steps = fields.integer("steps", 0);
  m.skipped_steps = fields.integer("skipped_steps", 0, m.steps);
  m.updates = m.steps - m.skipped_steps;
  if (fields.has("updates")) {
    m.updates = fields.integer("updates", 0, kMostUpdates);
  }
  m.digest = fields.hash("digest");
  if (fields.has("held_out_loss")) {
    m.held_out_loss = fields.number("held_out_loss");
    fields.expect(std::isfinite(*m.held_out_loss), "held_out_loss",
                  "a finite number");
  }
  m.dtype = parse_dtype(fields);
  m.configuration = fields.text("configuration");
  if (fields.has("hugging_face")) {
    m.hugging_face = fields.text("hugging_face");
  }
  const auto item_name = [&](const char* name, std::size_t i) {
    return where + ": " + name + " " + std::to_string(i);
  };
  int64_t offset = 0;
  for (const json& item : fields.array("parameters")) {
    m.parameters.push_back(parse_parameter(
        {item, item_name("parameter", m.parameters.size())}, offset));
    offset = ParameterLayout::offset_after(m.parameters.back());
    require(offset <= kMostElements, where, ": too many elements");
  }
  for (const json& item : fields.array("shards")) {
    m.shards.push_back(
        parse_shard({item, item_name("shard", m.shards.size())}));
  }
  for (const json& item : fields.array("pieces")) {
    const JsonFields piece(item, item_name("piece", m.pieces.size()));
    m.pieces.push_back(
        {.kind = piece.text("kind"),
         .parameter = piece.text("parameter"),
         .first = piece.integer("first", 0, kMostElements),
         .count = piece.integer("count", 1, kMostElements),
         .shard = piece.integer("shard", 0,
                                static_cast<int64_t>(m.shards.size()) - 1),
         .xxh64 = piece.hash("xxh64")});
  }
  require_whole(m, where);
  // Checkpoints of earlier versions have neither of these lists.
  if (fields.has("carried")) {
    for (const json& item : fields.array("carried")) {
      m.carried.push_back(
          parse_carried({item, item_name("carried", m.carried.size())}, m));
    }
    require_carried_once(m, where);
  }
  if (fields.has("data")) {
    for (const json& item : fields.array("data")) {
      m.data.push_back(
          parse_data_file({item, item_name("data", m.data.size())}));
    }
  }
  return m;
}

}  // namespace

const std::vector<std::string>& Manifest::kinds() {
  static const std::vector<std::string> kinds{"weights", "adam_m", "adam_v"};
  return kinds;
}

std::string Manifest::Piece::tensor() const {
  return kind + "." + parameter + "@" + std::to_string(first);
}

std::string Manifest::Carried::tensor() const {
  return "carried." + std::to_string(sequence) + "." + std::to_string(layer) +
         "." + border;
}

std::string to_json(const Manifest& manifest) {
  nlohmann::ordered_json value;
  value["format"] = Manifest::kFormat;
  value["steps"] = manifest.steps;
  value["skipped_steps"] = manifest.skipped_steps;
  value["updates"] = manifest.updates;
  value["digest"] = hex_text(manifest.digest);
  if (manifest.held_out_loss) value["held_out_loss"] = *manifest.held_out_loss;
  value["dtype"] = name_of(manifest.dtype);
  value["configuration"] = manifest.configuration;
  if (!manifest.hugging_face.empty()) {
    value["hugging_face"] = manifest.hugging_face;
  }
  for (const char* list :
       {"data", "parameters", "shards", "pieces", "carried"}) {
    value[list] = json::array();
  }
  for (const Parameter& p : manifest.parameters) {
    value["parameters"].push_back({{"name", p.name}, {"shape", p.shape}});
  }
  for (const Manifest::Shard& shard : manifest.shards) {
    value["shards"].push_back(
        {{"file", shard.file}, {"size_bytes", shard.size_bytes}});
  }
  for (const Manifest::Piece& piece : manifest.pieces) {
    value["pieces"].push_back({{"kind", piece.kind},
                               {"parameter", piece.parameter},
                               {"first", piece.first},
                               {"count", piece.count},
                               {"shard", piece.shard},
                               {"xxh64", hex_text(piece.xxh64)}});
  }
  for (const Manifest::Carried& carried : manifest.carried) {
    value["carried"].push_back({{"sequence", carried.sequence},
                                {"layer", carried.layer},
                                {"border", carried.border},
                                {"steps", carried.steps},
                                {"count", carried.count},
                                {"shard", carried.shard},
                                {"xxh64", hex_text(carried.xxh64)}});
  }
  for (const Manifest::DataFile& file : manifest.data) {
    value["data"].push_back(
        {{"path", file.path},
         {file.of_bytes ? "hash" : "tokens", hex_text(file.hash)}});
  }
  // A path may be no UTF-8.
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& where) {
  require(text.size() <= kMostBytes, where, ": ", text.size(),
          " bytes, expected at most ", kMostBytes);
  try {
    return parse(json::parse(text), where);
  } catch (const json::exception& error) {
    throw InvalidArgument(where + ": " + error.what());
  }
}

void require_same_parameters(const std::string& where,
                             const std::vector<Parameter>& actual,
                             const std::vector<Parameter>& expected) {
  for (std::size_t i = 0; i < std::max(actual.size(), expected.size()); ++i) {
    const auto describe = [i](const std::vector<Parameter>& parameters) {
      return i < parameters.size()
                 ? parameters[i].name + " " + to_string(parameters[i].shape)
                 : std::string("nothing");
    };
    require(describe(actual) == describe(expected), where, ": parameter ", i,
            " is ", describe(actual), ", expected ", describe(expected),
            ": another model");
  }
}

}  // namespace timepipe
