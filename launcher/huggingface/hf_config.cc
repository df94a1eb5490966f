#include "launcher/huggingface/hf_config.h"

#include <nlohmann/json.hpp>
#include <set>

#include "runtime/json_fields.h"

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

// Takes the fields that are there, one by one, and tells those left over.
class Fields {
 public:
  Fields(const json& object, const std::string& where)
      : fields_(object, where) {}

  void take(const char* name, int64_t& value) {
    if (finds(name)) value = fields_.integer(name);
  }
  void take(const char* name, std::optional<int64_t>& value) {
    if (!finds(name)) return;
    value.reset();
    if (!fields_.get(name).is_null()) value = fields_.integer(name);
  }
  void take(const char* name, double& value) {
    if (finds(name)) value = fields_.number(name);
  }
  void take(const char* name, bool& value) {
    if (finds(name)) value = fields_.boolean(name);
  }
  void take(const char* name, std::string& value) {
    if (finds(name)) value = fields_.text(name);
  }
  void require_value(const char* name, const json& only) {
    if (!finds(name)) return;
    fields_.expect(fields_.get(name) == only, name, only.dump());
  }
  // A field that is null says nothing.
  void require_none_left() const {
    for (const auto& [name, value] : fields_.object().items()) {
      fields_.expect(value.is_null() || taken_.contains(name) ||
                         ignored_fields().contains(name),
                     name,
                     "no field of this name: its meaning isn't known here");
    }
  }

 private:
  bool finds(const char* name) {
    taken_.insert(name);
    return fields_.has(name);
  }

  JsonFields fields_;
  std::set<std::string> taken_;
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
  const json object = json::parse(text, nullptr, false);
  Fields fields(object, where);
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
