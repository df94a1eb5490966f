// Parses configuration files and lays each over its base.

#include "launcher/config/config_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/reflection.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::size_t kMostFiles = 16;
constexpr int kMostNested = 8;  // the schema nests 1 deep

// "line:column:" of a place that is counted from 0.
std::string place(int line, int column) {
  return std::to_string(line + 1) + ":" + std::to_string(column + 1) + ":";
}

// Keeps the first error of a text and its place.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (!text_.empty()) return;
    if (line >= 0) text_ = place(line, column);
    text_ += " " + message;
  }

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A parsed file and the place of its base, "name:line:column: base: ".
struct Parsed {
  schema::RunConfig message;
  std::string base_place;
};

Parsed parse(std::string_view text, const std::string& name) {
  text.remove_prefix(bom_bytes(text));
  require(text.size() <= kMostBytes, name, ": ", text.size(),
          " bytes, expected at most ", kMostBytes);
  google::protobuf::io::ArrayInputStream input(text.data(),
                                               static_cast<int>(text.size()));
  FirstError error;
  TextFormat::ParseInfoTree places;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMostNested);
  parser.WriteLocationsTo(&places);
  Parsed parsed;
  const bool ok = parser.Parse(&input, &parsed.message);
  require(ok, name, ":", error.text());
  if (parsed.message.has_base()) {
    const auto at = places.GetLocation(
        parsed.message.GetDescriptor()->FindFieldByName("base"), -1);
    parsed.base_place = name + ":" + place(at.line, at.column) + " base: ";
  }
  return parsed;
}

// Clears the lists of `base` that `over` has too.
void clear_replaced_lists(Message& base, const Message& over) {
  std::vector<const FieldDescriptor*> fields;
  over.GetReflection()->ListFields(over, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      base.GetReflection()->ClearField(&base, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      clear_replaced_lists(*base.GetReflection()->MutableMessage(&base, field),
                           over.GetReflection()->GetMessage(over, field));
    }
  }
}

std::string normal(const std::filesystem::path& path) {
  return path.lexically_normal().string();
}

// The path of the base that `parsed`, the last file of the chain, names.
std::string base_of(const Parsed& parsed,
                    const std::vector<std::string>& chain) {
  const std::string& base = parsed.message.base();
  require(!base.empty(), parsed.base_place, "empty, expected a file");
  std::string path =
      normal(std::filesystem::path(chain.back()).parent_path() / base);
  std::string names;
  for (const std::string& file : chain) names += file + " -> ";
  require(std::find(chain.begin(), chain.end(), path) == chain.end(),
          parsed.base_place, "bases form a cycle: ", names, path);
  require(chain.size() < kMostFiles, parsed.base_place, "more than ",
          kMostFiles, " files: ", names, path);
  return path;
}

}  // namespace

schema::RunConfig parse_config(const std::string& text,
                               const std::string& name) {
  return parse(text, name).message;
}

schema::RunConfig read_config(const std::string& path, const ReadText& read) {
  std::vector<std::string> chain = {normal(path)};
  std::vector<schema::RunConfig> messages;
  Parsed parsed = parse(read(path), path);
  while (parsed.message.has_base()) {
    chain.push_back(base_of(parsed, chain));
    messages.push_back(parsed.message);
    std::string text;
    try {
      text = read(chain.back());
    } catch (const IoError& error) {
      throw IoError(parsed.base_place + error.what());
    }
    parsed = parse(text, chain.back());
  }
  schema::RunConfig merged = parsed.message;
  std::reverse(messages.begin(), messages.end());
  for (const schema::RunConfig& over : messages) {
    clear_replaced_lists(merged, over);
    merged.MergeFrom(over);
  }
  merged.clear_base();
  return merged;
}

std::string read_config_text(const std::string& path) {
  const InputFile file(path);
  require_plain_text(path, file);
  std::string text(
      std::min(static_cast<std::size_t>(file.size_bytes()), kMostBytes + 1),
      '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace timepipe
