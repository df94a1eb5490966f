// Copies fields between the schema's messages and RunConfig; overrides.

#include "launcher/config/config_text.h"

#include <google/protobuf/reflection.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <string_view>
#include <type_traits>

#include "launcher/config/config_file.h"
#include "runtime/number_text.h"
#include "schema/timepipe.pb.h"

namespace timepipe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Enumerators are copied by number.
static_assert(int{schema::Model::mlp} == int(InnerModel::kMlp) &&
              int{schema::Model::torch_uniform} ==
                  int(ConvInit::kTorchUniform) &&
              int{schema::Train::f64} == int(DType::kF64) &&
              int{schema::Train::bf16} == int(DType::kBF16) &&
              int{schema::Data::carry} == int(Documents::kCarry) &&
              int{schema::Data::jax} == int(Loss::kJax) &&
              int{schema::Data::uint32} == int(TokenType::kUint32) &&
              int{schema::Optimizer::warmup_stable_decay} ==
                  int(RateSchedule::kWarmupStableDecay) &&
              int{schema::Checkpoint::stop} == int(OnFailure::kStop));

// Calls field(path in the schema, value in `c`) for every field.
template <class Config, class F>
void each_field(Config& c, F&& field) {
  field("model.layer", c.model.inner);
  field("model.vocab_size", c.model.vocab_size);
  field("model.hidden_size", c.model.hidden_size);
  field("model.intermediate_size", c.model.intermediate_size);
  field("model.num_layers", c.model.num_layers);
  field("model.num_heads", c.model.num_heads);
  field("model.mini_batch_size", c.model.mini_batch_size);
  field("model.conv_kernel", c.model.conv_kernel);
  field("model.use_gate", c.model.use_gate);
  field("model.share_qk", c.model.share_qk);
  field("model.pre_conv", c.model.pre_conv);
  field("model.tie_word_embeddings", c.model.tie_word_embeddings);
  field("model.ttt_base_lr", c.model.ttt_base_lr);
  field("model.rope_theta", c.model.rope_theta);
  field("model.rms_norm_eps", c.model.rms_norm_eps);
  field("model.initializer_range", c.model.initializer_range);
  field("model.conv_init", c.model.conv_init);
  field("data.train", c.data.train);
  field("data.train_weights", c.data.train_weights);
  field("data.held_out", c.data.held_out);
  field("data.sequence_length", c.data.sequence_length);
  field("data.batch", c.data.batch);
  field("data.micro_batch", c.train.micro_batch);
  field("data.seed", c.data.seed);
  field("data.documents", c.data.documents);
  field("data.carry_state", c.data.carry_state);
  field("data.start_state", c.data.start_state);
  field("data.loss", c.data.loss);
  field("data.bos_id", c.data.bos_id);
  field("data.token_type", c.data.token_type);
  field("data.tokenizer", c.data.tokenizer);
  field("optimizer.steps", c.optimizer.steps);
  field("optimizer.lr", c.optimizer.lr);
  field("optimizer.init_lr", c.optimizer.init_lr);
  field("optimizer.end_lr", c.optimizer.end_lr);
  field("optimizer.warmup_steps", c.optimizer.warmup_steps);
  field("optimizer.schedule", c.optimizer.schedule);
  field("optimizer.decay_steps", c.optimizer.decay_steps);
  field("optimizer.beta1", c.optimizer.adamw.beta1);
  field("optimizer.beta2", c.optimizer.adamw.beta2);
  field("optimizer.eps", c.optimizer.adamw.eps);
  field("optimizer.weight_decay", c.optimizer.adamw.weight_decay);
  field("optimizer.clip_norm", c.optimizer.adamw.clip_norm);
  field("optimizer.decay_norms_and_biases",
        c.optimizer.adamw.decay_norms_and_biases);
  field("optimizer.inner_lr_warmup_steps", c.optimizer.inner_lr_warmup_steps);
  field("optimizer.inner_lr_init", c.optimizer.inner_lr_init);
  field("optimizer.max_skipped_steps", c.optimizer.max_skipped_steps);
  field("train.chunk_tokens", c.train.chunk_tokens);
  field("train.hot_rounds", c.train.hot_rounds);
  field("train.detach_every_chunks", c.train.detach_every_chunks);
  field("train.seed", c.train.seed);
  field("train.dtype", c.train.dtype);
  field("parallel.time", c.parallel.time);
  field("parallel.data", c.parallel.data);
  field("parallel.timeout_seconds", c.parallel.timeout_seconds);
  field("parallel.check_memory", c.parallel.check_memory);
  field("checkpoint.every", c.checkpoint.every);
  field("checkpoint.keep_last", c.checkpoint.keep_last);
  field("checkpoint.keep_best", c.checkpoint.keep_best);
  field("checkpoint.milestone_every", c.checkpoint.milestone_every);
  field("checkpoint.background", c.checkpoint.background);
  field("checkpoint.on_failure", c.checkpoint.on_failure);
  field("eval.every", c.eval.every);
  field("eval.data", c.eval.data);
  field("eval.sequences", c.eval.sequences);
  field("device", c.device);
  field("run_dir", c.run_dir);
  field("init_from", c.init_from);
  field("init_optimizer", c.init_optimizer);
}

// A field that holds a value, or a list of them, in its message.
struct Slot {
  Message* message;
  const FieldDescriptor* field;

  const Reflection& reflection() const { return *message->GetReflection(); }

  void get(int64_t& v) const { v = reflection().GetInt64(*message, field); }
  void get(uint64_t& v) const { v = reflection().GetUInt64(*message, field); }
  void get(double& v) const { v = reflection().GetDouble(*message, field); }
  void get(bool& v) const { v = reflection().GetBool(*message, field); }
  void get(std::string& v) const {
    v = reflection().GetString(*message, field);
  }
  template <class E>
  requires std::is_enum_v<E>
  void get(E& v) const {
    v = static_cast<E>(reflection().GetEnumValue(*message, field));
  }
  template <class T>
  void get(std::vector<T>& list) const {
    const auto& values = reflection().GetRepeatedFieldRef<T>(*message, field);
    list.assign(values.begin(), values.end());
  }

  void set(int64_t v) const { reflection().SetInt64(message, field, v); }
  void set(uint64_t v) const { reflection().SetUInt64(message, field, v); }
  void set(double v) const { reflection().SetDouble(message, field, v); }
  void set(bool v) const { reflection().SetBool(message, field, v); }
  void set(const std::string& v) const {
    reflection().SetString(message, field, v);
  }
  template <class E>
  requires std::is_enum_v<E>
  void set(E v) const {
    reflection().SetEnumValue(message, field, static_cast<int>(v));
  }
  template <class T>
  void set(const std::vector<T>& list) const {
    reflection().ClearField(message, field);
    for (const T& value : list) add(value);
  }

  void add(double v) const { reflection().AddDouble(message, field, v); }
  void add(const std::string& v) const {
    reflection().AddString(message, field, v);
  }
};

// The names of the fields of a message or of the values of an enumeration.
std::string names_in(const google::protobuf::Descriptor& message) {
  std::string names;
  for (int i = 0; i < message.field_count(); ++i) {
    names += (i == 0 ? "" : ", ") + message.field(i)->name();
  }
  return names;
}

std::string names_in(const google::protobuf::EnumDescriptor& values) {
  std::string names;
  for (int i = 0; i < values.value_count(); ++i) {
    names += (i == 0 ? "" : " or ") + values.value(i)->name();
  }
  return names;
}

// The field at `path` ("model.num_layers") from its character `begin` on.
// Throws InvalidArgument.
Slot find(Message& message, const std::string& path, std::size_t begin = 0) {
  const std::size_t dot = path.find('.', begin);
  const std::string name = path.substr(begin, dot - begin);
  const auto* field = message.GetDescriptor()->FindFieldByName(name);
  require(field != nullptr, path, ": no field ", name, ", expected ",
          names_in(*message.GetDescriptor()));
  const bool is_group = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (!is_group && dot == std::string::npos) return {&message, field};
  require(is_group, path, ": ", name, " has no fields");
  require(dot != std::string::npos, path,
          ": has no value of its own, expected ", path, ".",
          field->message_type()->field(0)->name(), " or the like");
  return find(*message.GetReflection()->MutableMessage(&message, field), path,
              dot + 1);
}

// What a T holds, for a number that it doesn't.
template <class T>
std::string range_of() {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_same_v<T, double>) {
    return "a number that is 0 or in size from " +
           significant(Limits::denorm_min(), 7) + " to " +
           significant(Limits::max(), 7);
  } else {
    return "an integer from " + std::to_string(Limits::min()) + " to " +
           std::to_string(Limits::max());
  }
}

// Sets a number if all of `text` is one that T holds. Returns "" or what would
// have been right, `kind` for what is no such number.
template <class T>
std::string set_number(const Slot& slot, std::string_view text,
                       const std::string& kind) {
  T value{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec == std::errc::invalid_argument || result.ptr != end) {
    return kind;
  }
  if (result.ec != std::errc()) return range_of<T>();
  if constexpr (std::is_same_v<T, double>) {
    if (slot.field->is_repeated()) {
      slot.add(value);
      return "";
    }
  }
  slot.set(value);
  return "";
}

// Sets the field, or adds to the list, from a text. Returns "" or what would
// have been right.
std::string set_from_text(const Slot& slot, const std::string& text) {
  switch (slot.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return set_number<int64_t>(slot, text, "an integer");
    case FieldDescriptor::CPPTYPE_UINT64:
      return set_number<uint64_t>(slot, text, "an integer of at least 0");
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return set_number<double>(slot, text, "a number");
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") return "true or false";
      slot.set(text == "true");
      return "";
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* values = slot.field->enum_type();
      const auto* value = values->FindValueByName(text);
      if (value == nullptr) return names_in(*values);
      slot.reflection().SetEnum(slot.message, slot.field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_STRING:
      slot.field->is_repeated() ? slot.add(text) : slot.set(text);
      return "";
    default:
      return "a field of another type";
  }
}

// "a,b" is two items, "a\,b" one with a comma, "" none.
std::vector<std::string> items_of(const std::string& path,
                                  const std::string& value) {
  std::vector<std::string> items;
  if (!value.empty()) items.emplace_back();
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == ',') {
      items.emplace_back();
    } else {
      if (value.compare(i, 2, "\\,") == 0) ++i;
      items.back() += value[i];
    }
  }
  require(std::ranges::count(items, "") == 0, path, ": ", value,
          ", expected no empty item between commas");
  return items;
}

void apply_override(Message& root, const std::string& text) {
  const std::size_t equals = text.find('=');
  require(equals != std::string::npos, text,
          ": expected path=value, such as model.num_layers=4");
  const std::string path = text.substr(0, equals);
  const std::string value = text.substr(equals + 1);
  const Slot slot = find(root, path);
  const auto set = [&](const std::string& item) {
    const std::string expected = set_from_text(slot, item);
    require(expected.empty(), path, ": ", item, ", expected ", expected);
  };
  if (!slot.field->is_repeated()) return set(value);
  slot.reflection().ClearField(slot.message, slot.field);
  for (const std::string& item : items_of(path, value)) set(item);
}

// The last of those for a field counts. Not for a list: a shell makes two of
// data.train={a,b}.txt, and both are meant.
void apply_overrides(Message& root, const std::vector<std::string>& overrides) {
  std::map<std::string, std::string> lists;
  for (const std::string& text : overrides) {
    apply_override(root, text);
    const std::string path = text.substr(0, text.find('='));
    if (!find(root, path).field->is_repeated()) continue;
    const std::string& first = lists.try_emplace(path, text).first->second;
    require(first == text, path,
            ": given twice, expected once, with commas: ", path, "=A,B");
  }
}

RunConfig from_message(schema::RunConfig& message) {
  RunConfig config;
  each_field(config, [&](const char* field, auto& value) {
    find(message, field).get(value);
  });
  validate(config);
  return config;
}

// Field by field, as text.
std::vector<std::pair<std::string, std::string>> fields_of(
    const RunConfig& config) {
  std::vector<std::pair<std::string, std::string>> fields;
  each_field(config, [&](const char* field, const auto& value) {
    schema::RunConfig message;
    find(message, field).set(value);
    fields.emplace_back(field, message.ShortDebugString());
  });
  return fields;
}

bool may_differ(const std::string& field) {
  for (const char* prefix : {"parallel.", "checkpoint.", "eval."}) {
    if (field.starts_with(prefix)) return true;
  }
  return field == "train.hot_rounds" || field == "run_dir" ||
         field == "device" || field == "init_from" ||
         field == "init_optimizer" || field == "data.start_state" ||
         field == "optimizer.steps";
}

}  // namespace

RunConfig load_config(const std::string& path,
                      const std::vector<std::string>& overrides) {
  schema::RunConfig message = read_config(path, read_config_text);
  apply_overrides(message, overrides);
  require(!message.has_base(), "base: ", message.base(),
          ", expected in a file, not on the command "
          "line");
  return from_message(message);
}

RunConfig config_from_text(const std::string& text, const std::string& where) {
  schema::RunConfig message = parse_config(text, where);
  return from_message(message);
}

std::string first_difference(const RunConfig& now, const RunConfig& before) {
  const auto a = fields_of(now), b = fields_of(before);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || may_differ(a[i].first)) continue;
    return a[i].first + ": {" + a[i].second + "}, expected {" + b[i].second +
           "}";
  }
  return "";
}

std::string to_text(const RunConfig& config) {
  schema::RunConfig message;
  each_field(config, [&](const char* field, const auto& value) {
    find(message, field).set(value);
  });
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}

}  // namespace timepipe
