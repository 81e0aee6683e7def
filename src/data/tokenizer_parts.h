// What the readers of a tokenizer.json's parts share.  A part that is not understood to the last key is refused, since
// a tokenizer that is nearly right gives numbers that are nearly right.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/json.h"

namespace qroar {

/// Throws the Error that names a part of the file and the remedy: "FILE: its PART JSON is not read here; ...".
[[noreturn]] void refuse(const std::string& file, const char* part, const Json& found);

/// Throws that Error unless `found` is an object whose keys are all among `known` or "type".
void check_keys(const std::string& file, const char* part, const Json& found, std::initializer_list<const char*> known);

/// Returns "type", or "" for what is not an object.
std::string type_of(const Json& part);

/// Returns the text of {"String": text}; empty where the pattern is a regular expression or none.
std::string literal_of(const Json& pattern);

/// Returns the id of a token.  Throws an Error unless it is a whole number below 2^20: memory grows with the highest
/// id.
int32_t id_of(const std::string& file, const std::string& token, const Json& id);

/// Returns a text with every `from` replaced, from left to right.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace qroar
