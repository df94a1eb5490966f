// Reads and writes config.json.

#include "launcher/huggingface/hf_config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/json_fields.h"

namespace timepipe {
namespace {

using nlohmann::json;

// The library version whose form of config.json this is.
constexpr const char* kTransformersVersion = "4.49.0";

// Fields that don't change what the model computes, whatever they hold: those
// of the official code, and the attributes that transformers 4 and 5 give every
// configuration. save_pretrained writes those that aren't at their defaults,
// to_dict() all of them.
const std::set<std::string>& bookkeeping_fields() {
  static const std::set<std::string> fields = {
      // Where it comes from.
      "_commit_hash", "_name_or_path", "auto_map", "name_or_path",
      "tokenizer_class", "transformers_version",
      // How the library holds and runs it.
      "_attn_implementation", "_attn_implementation_autoset",
      "_attn_implementation_internal", "_experts_implementation",
      "_experts_implementation_internal", "_output_attentions",
      "attn_implementation", "chunk_size_feed_forward", "dtype",
      "experts_implementation", "gradient_checkpointing", "is_decoder",
      "output_attentions", "output_hidden_states", "return_dict",
      "scan_checkpoint_group_size", "tf_legacy_loss", "torch_dtype",
      "torchscript", "use_bfloat16", "use_cache", "use_return_dict",
      // Tasks that it was tuned for.
      "finetuning_task", "id2label", "label2id", "num_labels", "prefix",
      "problem_type", "task_specific_params",
      // How its generate() samples.
      "bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id",
      "diversity_penalty", "do_sample", "early_stopping",
      "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty",
      "forced_bos_token_id", "forced_eos_token_id", "length_penalty",
      "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
      "num_beams", "num_return_sequences", "output_scores",
      "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
      "sep_token_id", "suppress_tokens", "temperature", "top_k", "top_p",
      "typical_p"};
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
  // One id, a list of them, or null: none.
  void take(const char* name, std::vector<int64_t>& ids) {
    if (!finds(name)) return;
    ids.clear();
    const json& field = fields_.get(name);
    if (field.is_null()) return;
    if (!field.is_array()) return ids.push_back(fields_.integer(name));
    for (const json& id : field) {
      const bool is_id =
          id.is_number_unsigned() &&
          id.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
      fields_.expect(is_id, name, "an id, a list of ids or null");
      ids.push_back(id.get<int64_t>());
    }
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
  void require_value_or_null(const char* name, const json& only) {
    if (finds(name) && !fields_.get(name).is_null()) require_value(name, only);
  }
  // `object`: rope_parameters, or rope_scaling before transformers 5. Only the
  // plain kind, with the base where rope_theta doesn't say it.
  void take_rope(const char* object, double& theta) {
    if (!finds(object) || fields_.get(object).is_null()) return;
    const std::string plain = "null, or the default kind and one rope_theta";
    const json& field = fields_.get(object);
    fields_.expect(field.is_object(), object, plain);
    for (const auto& [key, value] : field.items()) {
      const bool is_base =
          key == "rope_theta" && value.is_number() &&
          (!fields_.has("rope_theta") || value == fields_.get("rope_theta"));
      const bool is_kind =
          (key == "rope_type" || key == "type") && value == "default";
      fields_.expect(is_base || is_kind, object, plain);
      if (is_base) theta = value.get<double>();
    }
  }
  // Throws if a field that isn't null is left over.
  void require_none_left() const {
    for (const auto& [name, value] : fields_.object().items()) {
      fields_.expect(value.is_null() || taken_.contains(name) ||
                         bookkeeping_fields().contains(name),
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
  fields.take_rope("rope_scaling", m.rope_theta);
  fields.take_rope("rope_parameters", m.rope_theta);
  fields.take("rms_norm_eps", m.rms_norm_eps);
  fields.take("initializer_range", m.initializer_range);
  std::string kind = "linear";
  fields.take("ttt_layer_type", kind);
  require(kind == "linear" || kind == "mlp", where, ": ttt_layer_type: ", kind,
          ", expected linear or mlp");
  m.inner = kind == "mlp" ? InnerModel::kMlp : InnerModel::kLinear;
}

// Attributes of every configuration of transformers that would change the
// model: only with the values that don't.
void require_plain_decoder(Fields& fields, const ModelConfig& model) {
  for (const char* name :
       {"add_cross_attention", "is_encoder_decoder", "tie_encoder_decoder"}) {
    fields.require_value_or_null(name, false);
  }
  fields.require_value_or_null("pruned_heads", json::object());
  fields.require_value_or_null("num_key_value_heads", model.num_heads);
}

}  // namespace

HfConfig parse_hf_config(const std::string& text, const std::string& where) {
  const json object = json::parse(text, nullptr, false);
  Fields fields(object, where);
  HfConfig c = official_defaults();
  fields.require_value("model_type", "ttt");
  fields.require_value_or_null("architectures",
                               json::array({"TTTForCausalLM"}));
  fields.require_value("hidden_act", "silu");
  fields.require_value("pretraining_tp", 1);
  take_model(fields, c.model, where);
  require_plain_decoder(fields, c.model);
  std::optional<int64_t> positions = c.max_position_embeddings;
  fields.take("max_position_embeddings", positions);
  c.max_position_embeddings = positions.value_or(c.max_position_embeddings);
  fields.take("bos_token_id", c.bos_token_id);
  fields.take("eos_token_id", c.eos_token_ids);
  fields.take("pad_token_id", c.pad_token_id);
  fields.require_none_left();
  try {
    validate(c.model);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(where + ": " + error.what());
  }
  return c;
}

void take_generation_ends(const std::string& text, const std::string& where,
                          HfConfig& config) {
  const json object = json::parse(text, nullptr, false);
  Fields(object, where).take("eos_token_id", config.eos_token_ids);
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
  // Null where the code's own defaults, 1 and 2, don't hold; what has the
  // library's own default, null, is left out.
  object["bos_token_id"] = nullptr;
  if (config.bos_token_id) object["bos_token_id"] = *config.bos_token_id;
  const std::vector<int64_t>& eos = config.eos_token_ids;
  object["eos_token_id"] = nullptr;
  if (eos.size() == 1) object["eos_token_id"] = eos.front();
  if (eos.size() > 1) object["eos_token_id"] = eos;
  if (config.pad_token_id) object["pad_token_id"] = *config.pad_token_id;
  if (!m.tie_word_embeddings) object["tie_word_embeddings"] = false;
  return object.dump(2) + "\n";
}

}  // namespace timepipe
