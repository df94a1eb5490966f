// Types of tokens, their names and how they are read.

#include "runtime/token_layout.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "runtime/error.h"

namespace timepipe {
namespace {

// By StoredToken.
constexpr std::array<StoredTokenName, 8> kNames = {
    {{StoredToken::kU8, 1, "uint8", "U8", "|u1"},
     {StoredToken::kI8, 1, "int8", "I8", "|i1"},
     {StoredToken::kU16, 2, "uint16", "U16", "<u2"},
     {StoredToken::kI16, 2, "int16", "I16", "<i2"},
     {StoredToken::kU32, 4, "uint32", "U32", "<u4"},
     {StoredToken::kI32, 4, "int32", "I32", "<i4"},
     {StoredToken::kU64, 8, "uint64", "U64", "<u8"},
     {StoredToken::kI64, 8, "int64", "I64", "<i8"}}};

// The type whose name `of` gives is `name`.
StoredToken type_of(std::string_view StoredTokenName::*of,
                    std::string_view name, const std::string& where) {
  const auto found = std::ranges::find(kNames, name, of);
  if (found != kNames.end()) return found->type;
  std::string expected;
  for (const StoredTokenName& known : kNames) {
    expected += expected.empty()           ? ""
                : &known == &kNames.back() ? " or "
                                           : ", ";
    expected += known.*of;
  }
  throw InvalidArgument(where + " " + std::string(name.substr(0, 40)) +
                        ", expected " + expected);
}

template <typename T>
void copy_as(const std::byte* from, std::span<int64_t> ids) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    if constexpr (sizeof(T) == sizeof(kMost) && T(-1) > 0) {
      value = std::min<T>(value, kMost);
    }
    ids[i] = static_cast<int64_t>(value);
  }
}

}  // namespace

const StoredTokenName& name_of(StoredToken type) {
  return kNames.at(static_cast<std::size_t>(type));
}

int64_t bytes_of(StoredToken type) { return name_of(type).bytes; }

StoredToken token_type_of_safetensors(std::string_view name,
                                      const std::string& where) {
  return type_of(&StoredTokenName::safetensors, name, where);
}

StoredToken token_type_of_npy(std::string_view name, const std::string& where) {
  return type_of(&StoredTokenName::npy, name, where);
}

TokenLayout tokens_from(int64_t begin, FileKind kind, StoredToken type,
                        const FileBytes& bytes, const std::string& where) {
  const int64_t rest = bytes.size() - begin;
  require(rest % bytes_of(type) == 0, where, ": ", rest,
          " bytes of tokens, expected a multiple of ", bytes_of(type));
  return {.kind = kind,
          .type = type,
          .begin = begin,
          .count = rest / bytes_of(type)};
}

void require_count(const TokenLayout& layout, int64_t listed,
                   const std::string& where) {
  require(layout.count == listed, where, ": header: ", listed,
          " tokens, but the file has ", layout.count);
}

void require_one_row(const TokenArray& array, const std::string& where) {
  require(array.shape.size() == 1 || array.shape[0] == 1, where, ": shape ",
          array.shape, ", expected one text, [T] or [1,T]");
}

void copy_tokens(ConstBytes bytes, StoredToken type, std::span<int64_t> ids) {
  const std::byte* from = bytes.data();
  switch (type) {
    case StoredToken::kU8:
      return copy_as<uint8_t>(from, ids);
    case StoredToken::kI8:
      return copy_as<int8_t>(from, ids);
    case StoredToken::kU16:
      return copy_as<uint16_t>(from, ids);
    case StoredToken::kI16:
      return copy_as<int16_t>(from, ids);
    case StoredToken::kU32:
      return copy_as<uint32_t>(from, ids);
    case StoredToken::kI32:
      return copy_as<int32_t>(from, ids);
    case StoredToken::kU64:
      return copy_as<uint64_t>(from, ids);
    case StoredToken::kI64:
      return copy_as<int64_t>(from, ids);
  }
}

}  // namespace timepipe
