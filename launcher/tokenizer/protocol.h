#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

// What timepipe and its child timepipe-tokenizer say to each other over a
// socket, the child's file descriptor 0: requests, each with one answer. A
// message is a header and `size` bytes; numbers are as this machine has them.
// The program of the child links nothing else of Timepipe.

namespace timepipe {

enum class TokenizerMessage : uint32_t {
  kOpen = 1,  // a sentencepiece model; answer: TokenizerOpened, then one byte
              // per id, its TokenizerIdKind
  kEncode,    // a text, after its context; answer: its ids, int32
  kDecode,    // ids, int32; answer: their text
  kAnswer,
  kMistake,  // instead of an answer: what is wrong with the request
};

struct TokenizerHeader {
  TokenizerMessage kind;
  uint32_t context =
      0;          // kEncode: bytes before the text, which aren't asked for
  uint64_t size;  // bytes that follow
};

struct TokenizerOpened {
  int32_t vocab_size, bos_id, eos_id;  // -1: none
};

enum class TokenizerIdKind : char { kPiece, kByte, kUnknown };

constexpr uint64_t kMostTextBytes = uint64_t{256} << 20;
// A space is three ids of four bytes where a model has none for it.
constexpr uint64_t kMostMessageBytes = 16 * kMostTextBytes;

// Status with which the child ends if there is no room for a request.
constexpr int kTokenizerOutOfMemory = 12;

// False if the other side is gone.
inline bool receive_all(int socket, void* bytes, std::size_t size) {
  auto* to = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = ::recv(socket, to, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

inline bool send_all(int socket, const void* bytes, std::size_t size) {
  const auto* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t sent = ::send(socket, from, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    from += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace timepipe
