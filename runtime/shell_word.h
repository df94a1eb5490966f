#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace timepipe {

// A path as one word of a command that a person may type: quoted where a shell
// would read it otherwise, and never an option.
inline std::string shell_word(const std::string& path) {
  if (path.starts_with('-')) return shell_word("./" + path);
  const bool plain = std::ranges::all_of(path, [](char c) {
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') ||
           ('0' <= c && c <= '9') ||
           std::string_view("_-./+:=@%,").find(c) != std::string_view::npos;
  });
  if (plain) return path;
  std::string text = "'";
  for (const char c : path) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace timepipe
