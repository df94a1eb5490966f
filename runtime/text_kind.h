#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/file_kind.h"

namespace timepipe {

// Parts of file_contents: what bytes without a mark of their own are. Names are
// lower case, without folders; whole: the bytes are all of the file.

// A text in UTF-16, UTF-32 or GB18030: by its byte order mark, UTF-16 and
// UTF-32 also by where its NULs are.
std::optional<FileContents> wide_text(std::string_view bytes);

// An HTML page or the like that a server sent in place of a file.
std::optional<FileContents> error_page(std::string_view text,
                                       std::string_view name, bool whole);

// A text, JSON lines, or what looks like one of them and isn't.
FileContents text_contents(std::string_view text, std::string_view name,
                           bool whole);

// "begins with 'The river'": what is printable of the first bytes.
std::string beginning(std::string_view text);

// Whether there is a byte that texts don't have; they may have form feeds,
// escapes and the like.
bool has_control(std::string_view text);

std::string lower_case(std::string_view text);  // ASCII alone

FileContents other_kind(std::string what, std::string unpack = {},
                        std::string advice = {});

}  // namespace timepipe
