#include <sentencepiece_processor.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/tokenizer/protocol.h"
#include "runtime/standard_streams.h"

// timepipe-tokenizer: a sentencepiece model as a child process. On Debian 12
// its library and that of Protocol Buffers abort in one program.

namespace {

using sentencepiece::SentencePieceProcessor;
using timepipe::TokenizerHeader;
using timepipe::TokenizerIdKind;
using timepipe::TokenizerMessage;

std::string open_model(SentencePieceProcessor& model,
                       const std::string& bytes) {
  const auto status = model.LoadFromSerializedProto(bytes);
  if (!status.ok()) throw std::string("not a sentencepiece model");
  const timepipe::TokenizerOpened opened = {model.GetPieceSize(),
                                            model.bos_id(), model.eos_id()};
  std::string answer(sizeof(opened), '\0');
  std::memcpy(answer.data(), &opened, sizeof(opened));
  for (int id = 0; id < opened.vocab_size; ++id) {
    answer +=
        static_cast<char>(model.IsByte(id)      ? TokenizerIdKind::kByte
                          : model.IsUnknown(id) ? TokenizerIdKind::kUnknown
                                                : TokenizerIdKind::kPiece);
  }
  return answer;
}

std::vector<int> ids_of(const SentencePieceProcessor& model,
                        std::string_view text) {
  std::vector<int> ids;
  const auto status = model.Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) throw status.ToString();
  return ids;
}

std::string encode(const SentencePieceProcessor& model, std::string_view text,
                   std::size_t context) {
  const std::vector<int> ids = ids_of(model, text);
  std::vector<int> before;
  if (context > 0) before = ids_of(model, text.substr(0, context));
  if (before.size() > ids.size() ||
      !std::equal(before.begin(), before.end(), ids.begin())) {
    throw std::string("the ids before a cut depend on what is after it");
  }
  return {reinterpret_cast<const char*>(ids.data() + before.size()),
          (ids.size() - before.size()) * sizeof(int)};
}

std::string decode(const SentencePieceProcessor& model,
                   const std::string& bytes) {
  std::vector<int> ids(bytes.size() / sizeof(int));
  std::string text;
  if (ids.empty()) return text;
  std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int));
  const auto status = model.Decode(ids, &text);
  if (!status.ok()) throw status.ToString();
  return text;
}

// Throws a text that says what is wrong with the request.
std::string answer_to(SentencePieceProcessor& model,
                      const TokenizerHeader& header, const std::string& bytes) {
  switch (header.kind) {
    case TokenizerMessage::kOpen:
      return open_model(model, bytes);
    case TokenizerMessage::kEncode:
      return encode(model, bytes, header.context);
    case TokenizerMessage::kDecode:
      return decode(model, bytes);
    default:
      throw std::string("unknown request");
  }
}

}  // namespace

int main() {
  timepipe::open_closed_streams();
  // Ctrl-C is for the parent; this ends when the parent's socket is closed.
  std::signal(SIGINT, SIG_IGN);
  if (::isatty(STDIN_FILENO) == 1) {
    std::fprintf(stderr,
                 "timepipe-tokenizer: timepipe starts it where it needs a "
                 "sentencepiece model\n");
    return 1;
  }
  SentencePieceProcessor model;
  TokenizerHeader header = {};
  while (timepipe::receive_all(STDIN_FILENO, &header, sizeof(header))) {
    if (header.size > timepipe::kMostMessageBytes) return 1;
    std::string bytes;
    try {
      bytes.resize(header.size);
    } catch (const std::bad_alloc&) {
      return timepipe::kTokenizerOutOfMemory;
    }
    if (!timepipe::receive_all(STDIN_FILENO, bytes.data(), bytes.size())) break;
    TokenizerMessage kind = TokenizerMessage::kAnswer;
    std::string answer;
    try {
      answer = answer_to(model, header, bytes);
    } catch (const std::exception&) {  // bad_alloc, or a length beyond an int
      kind = TokenizerMessage::kMistake;
      answer = "out of memory: a text of " + std::to_string(header.size) +
               " bytes as a whole";
    } catch (const std::string& mistake) {
      kind = TokenizerMessage::kMistake;
      answer = mistake;
    }
    header = {.kind = kind, .size = answer.size()};
    if (!timepipe::send_all(STDIN_FILENO, &header, sizeof(header)) ||
        !timepipe::send_all(STDIN_FILENO, answer.data(), answer.size())) {
      break;
    }
  }
  return 0;
}
