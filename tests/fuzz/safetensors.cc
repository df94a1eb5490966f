#include "runtime/safetensors.h"

#include "tests/fuzz/fuzz.h"

// Tensors lie within the bytes, and the header written anew says the same.

namespace timepipe {
namespace {

std::string written_anew(const SafetensorsHeader& header, ConstBytes bytes) {
  std::vector<SafetensorsItem> items;
  for (const SafetensorsEntry& e : header.entries) {
    items.push_back(
        {e.name, e.dtype, e.shape,
         bytes.subspan(header.data_begin + e.begin, e.end - e.begin)});
  }
  std::string text = safetensors_header(items, header.metadata);
  const ConstBytes data = bytes.subspan(header.data_begin);
  return text.append(reinterpret_cast<const char*>(data.data()), data.size());
}

void check(const SafetensorsHeader& header, ConstBytes bytes) {
  const auto size = static_cast<int64_t>(bytes.size()) - header.data_begin;
  fuzz::must(header.data_begin >= 8 && size >= 0, "data lie in the bytes");
  int64_t at = 0;
  for (const SafetensorsEntry& e : header.entries) {
    fuzz::must(e.begin == at && e.end >= e.begin, "no holes, no overlap");
    at = e.end;
  }
  fuzz::must(at == size, "tensors cover the data");

  const std::string text = written_anew(header, bytes);
  const SafetensorsHeader again =
      parse_safetensors(std::as_bytes(std::span(text)), "anew");
  fuzz::must(again.metadata == header.metadata, "metadata are the same");
  fuzz::must(again.entries.size() == header.entries.size(), "as many tensors");
}

}  // namespace
}  // namespace timepipe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const ConstBytes bytes = fuzz::as_bytes(data, size);
  SafetensorsHeader header;
  if (fuzz::accepts([&] { header = parse_safetensors(bytes, "input"); })) {
    check(header, bytes);
  }
  return 0;
}
