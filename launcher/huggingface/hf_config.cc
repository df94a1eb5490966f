#include "launcher/huggingface/hf_config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/error.h"
#include "runtime/json_text.h"

namespace timepipe {
namespace {

using nlohmann::json;

// The library version whose form of config.json this is.
constexpr const char* kTransformersVersion = "4.49.0";

// Fields that don't change what the model computes.
const std::set<std::string>& ignored_fields() {
  static const std::set<std::string> fields = {"_name_or_path",
                                               "auto_map",
                                               "scan_checkpoint_group_size",
                                               "torch_dtype",
                                               "transformers_version",
                                               "use_cache"};
  return fields;
}

// Takes fields out of the object one by one, so that what is left is unknown.
class Fields {
 public:
  Fields(json object, std::string where)
      : object_(std::move(object)), where_(std::move(where)) {}

  void take(const char* name, int64_t& value) {
    const json field = remove(name);
    if (field.is_discarded()) return;
    const bool small =
        !field.is_number_unsigned() ||
        field.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
    expect(field.is_number_integer() && small, name, field, "an integer");
    value = field.get<int64_t>();
  }
  void take(const char* name, std::optional<int64_t>& value) {
    const auto found = object_.find(name);
    if (found != object_.end() && found->is_null()) {
      object_.erase(found);
      value.reset();
      return;
    }
    int64_t id = value.value_or(-1);
    const bool there = found != object_.end();
    take(name, id);
    if (there) value = id;
  }
  void take(const char* name, double& value) {
    const json field = remove(name);
    if (field.is_discarded()) return;
    expect(field.is_number(), name, field, "a number");
    value = field.get<double>();
  }
  void take(const char* name, bool& value) {
    const json field = remove(name);
    if (field.is_discarded()) return;
    expect(field.is_boolean(), name, field, "true or false");
    value = field.get<bool>();
  }
  void take(const char* name, std::string& value) {
    const json field = remove(name);
    if (field.is_discarded()) return;
    expect(field.is_string(), name, field, "a text");
    value = field.get<std::string>();
  }
  void require_value(const char* name, const json& only) {
    const json field = remove(name);
    expect(field.is_discarded() || field == only, name, field, only.dump());
  }
  // A field that is null says nothing.
  void require_none_left() const {
    for (const auto& [name, value] : object_.items()) {
      expect(value.is_null() || ignored_fields().contains(name), name, value,
             "no field of this name: its meaning isn't known here");
    }
  }

 private:
  json remove(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return json(json::value_t::discarded);
    json field = std::move(*found);
    object_.erase(found);
    return field;
  }
  void expect(bool condition, const std::string& name, const json& value,
              const std::string& expected) const {
    if (condition) return;
    throw InvalidArgument(where_ + ": " + name + ": " + brief(value) +
                          ", expected " + expected);
  }

  json object_;
  std::string where_;
};

// The official code's defaults, where they aren't ModelConfig's.
HfConfig official_defaults() {
  HfConfig c;
  c.model.vocab_size = 32000;
  c.model.hidden_size = 2048;
  c.model.intermediate_size = 5504;
  c.model.num_layers = 24;
  c.model.num_heads = 32;
  return c;
}

void take_model(Fields& fields, ModelConfig& m, const std::string& where) {
  fields.take("vocab_size", m.vocab_size);
  fields.take("hidden_size", m.hidden_size);
  fields.take("intermediate_size", m.intermediate_size);
  fields.take("num_hidden_layers", m.num_layers);
  fields.take("num_attention_heads", m.num_heads);
  fields.take("mini_batch_size", m.mini_batch_size);
  fields.take("conv_kernel", m.conv_kernel);
  fields.take("use_gate", m.use_gate);
  fields.take("share_qk", m.share_qk);
  fields.take("pre_conv", m.pre_conv);
  fields.take("tie_word_embeddings", m.tie_word_embeddings);
  fields.take("ttt_base_lr", m.ttt_base_lr);
  fields.take("rope_theta", m.rope_theta);
  fields.take("rms_norm_eps", m.rms_norm_eps);
  fields.take("initializer_range", m.initializer_range);
  std::string kind = "linear";
  fields.take("ttt_layer_type", kind);
  require(kind == "linear" || kind == "mlp",
          where + ": ttt_layer_type: " + kind + ", expected linear or mlp");
  m.inner = kind == "mlp" ? InnerModel::kMlp : InnerModel::kLinear;
}

}  // namespace

HfConfig parse_hf_config(const std::string& text, const std::string& where) {
  json object = json::parse(text, nullptr, false);
  require(object.is_object(), where + ": not a JSON object");
  Fields fields(std::move(object), where);
  HfConfig c = official_defaults();
  fields.require_value("model_type", "ttt");
  fields.require_value("architectures", json::array({"TTTForCausalLM"}));
  fields.require_value("hidden_act", "silu");
  fields.require_value("pretraining_tp", 1);
  take_model(fields, c.model, where);
  fields.take("max_position_embeddings", c.max_position_embeddings);
  fields.take("bos_token_id", c.bos_token_id);
  fields.take("eos_token_id", c.eos_token_id);
  fields.take("pad_token_id", c.pad_token_id);
  fields.require_none_left();
  try {
    validate(c.model);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(where + ": " + error.what());
  }
  return c;
}

std::string hf_config_text(const HfConfig& config,
                           const std::string& torch_dtype) {
  const ModelConfig& m = config.model;
  json object = {
      {"architectures", {"TTTForCausalLM"}},
      {"conv_kernel", m.conv_kernel},
      {"hidden_act", "silu"},
      {"hidden_size", m.hidden_size},
      {"initializer_range", m.initializer_range},
      {"intermediate_size", m.intermediate_size},
      {"max_position_embeddings", config.max_position_embeddings},
      {"mini_batch_size", m.mini_batch_size},
      {"model_type", "ttt"},
      {"num_attention_heads", m.num_heads},
      {"num_hidden_layers", m.num_layers},
      {"pre_conv", m.pre_conv},
      {"pretraining_tp", 1},
      {"rms_norm_eps", m.rms_norm_eps},
      {"rope_theta", m.rope_theta},
      {"scan_checkpoint_group_size", 0},
      {"share_qk", m.share_qk},
      {"torch_dtype", torch_dtype},
      {"transformers_version", kTransformersVersion},
      {"ttt_base_lr", m.ttt_base_lr},
      {"ttt_layer_type", m.inner == InnerModel::kMlp ? "mlp" : "linear"},
      {"use_cache", false},
      {"use_gate", m.use_gate},
      {"vocab_size", m.vocab_size}};
  // Left out where they are the library's own defaults, as the code's own
  // defaults (1 and 2) are not.
  const auto put_id = [&](const char* name, std::optional<int64_t> id,
                          bool null_is_default) {
    if (id) {
      object[name] = *id;
    } else if (!null_is_default) {
      object[name] = nullptr;
    }
  };
  put_id("bos_token_id", config.bos_token_id, false);
  put_id("eos_token_id", config.eos_token_id, false);
  put_id("pad_token_id", config.pad_token_id, true);
  if (!m.tie_word_embeddings) object["tie_word_embeddings"] = false;
  return object.dump(2) + "\n";
}

}  // namespace timepipe
