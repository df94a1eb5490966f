// Reads headers of safetensors files of tokens.

#include "runtime/token_safetensors.h"

#include <algorithm>
#include <utility>

#include "runtime/error.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

constexpr const char* kDocuments = "documents";

std::vector<int64_t> parse_documents(ConstBytes bytes, StoredToken type,
                                     int64_t tokens, const std::string& where) {
  std::vector<int64_t> documents(bytes.size() /
                                 static_cast<std::size_t>(bytes_of(type)));
  copy_tokens(bytes, type, documents);
  int64_t least = 0;  // of the next start
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const int64_t start = documents[i];
    if (start < least || start >= tokens || (i == 0 && start != 0)) {
      throw InvalidArgument(
          where + ": document " + std::to_string(i) + " starts at token " +
          std::to_string(start) +
          ", expected 0 for the first, then ascending below " +
          std::to_string(tokens));
    }
    least = start + 1;
  }
  return documents;
}

const SafetensorsEntry* find(const SafetensorsHeader& header,
                             const std::string& name) {
  const auto found =
      std::ranges::find(header.entries, name, &SafetensorsEntry::name);
  return found == header.entries.end() ? nullptr : &*found;
}

// name: empty if any that tokens have will do.
const SafetensorsEntry& token_tensor(const SafetensorsHeader& header,
                                     const std::string& where,
                                     const std::string& name) {
  for (const std::string& known :
       name.empty() ? std::vector<std::string>{"tokens", "input_ids"}
                    : std::vector<std::string>{name}) {
    if (const SafetensorsEntry* entry = find(header, known)) return *entry;
  }
  constexpr std::size_t kMostNamed = 8, kMostBytes = 64;
  std::string there;
  for (std::size_t i = 0; i < header.entries.size(); ++i) {
    if (i == kMostNamed) {
      there += ", ...";
      break;
    }
    there += (i == 0 ? ", but " : ", ") +
             header.entries[i].name.substr(0, kMostBytes);
  }
  throw InvalidArgument(where + ": no tensor named " +
                        (name.empty() ? "tokens or input_ids" : name) + there);
}

TokenArray array_of(const SafetensorsHeader& header,
                    const SafetensorsEntry& entry, const std::string& where) {
  const std::string tensor = where + ": tensor " + entry.name + ":";
  const StoredToken type = token_type_of_safetensors(entry.dtype, tensor);
  require(entry.shape.size() == 1 || entry.shape.size() == 2, tensor, " shape ",
          entry.shape, ", expected one or two dimensions, [T] or [B,T]");
  return {{.kind = FileKind::kSafetensors,
           .type = type,
           .begin = header.data_begin + entry.begin,
           .count = (entry.end - entry.begin) / bytes_of(type)},
          entry.shape};
}

}  // namespace

TokenArray parse_token_tensor(const FileBytes& bytes, const std::string& where,
                              const std::string& name) {
  const SafetensorsHeader header = parse_safetensors(bytes, where);
  return array_of(header, token_tensor(header, where, name), where);
}

TokenLayout parse_token_safetensors(const FileBytes& bytes,
                                    const std::string& where) {
  SafetensorsHeader header = parse_safetensors(bytes, where);
  const SafetensorsEntry& tokens = token_tensor(header, where, "");
  TokenArray array = array_of(header, tokens, where);
  require_one_row(array, where + ": tensor " + tokens.name);
  if (const SafetensorsEntry* entry = find(header, kDocuments)) {
    const TokenArray starts = array_of(header, *entry, where);
    require_one_row(starts, where + ": tensor documents");
    array.layout.documents = parse_documents(
        bytes.read(starts.layout.begin, entry->end - entry->begin),
        starts.layout.type, array.layout.count, where);
  }
  array.layout.metadata = std::move(header.metadata);
  return std::move(array.layout);
}

}  // namespace timepipe
