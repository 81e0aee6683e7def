// JSON as this program reads it.  parse_json_object() is the only way in: config.json, safetensors headers, tokenizers,
// texts, task files, scales, rows, plans, claims and journals all come through it.  No other file includes the parser.
#pragma once
#include "base/error.h"

// The library asserts what its callers must know, such as a key that a const object has.  Readers check it first; where
// one forgets to, this is an internal error with its text rather than an abort.
#define JSON_ASSERT(condition) ((condition) ? static_cast<void>(0) : ::qroar::check(false, "JSON library: " #condition))
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace qroar {

/// Keeps the order of keys.
using Json = nlohmann::ordered_json;
/// Equal where two objects differ in the order of their keys alone.
using SortedJson = nlohmann::json;

/// What a text is read from, and what the user can do where it is damaged; both for messages.
struct JsonSource {
  JsonSource(std::string file, int64_t first_line = 1, std::string what_to_do = "")
      : name(std::move(file)), line(first_line), remedy(std::move(what_to_do)) {}

  std::string name;    ///< the file, perhaps with the part of it
  int64_t line;        ///< the number of the text's first line
  std::string remedy;  ///< "delete it and run again"; may be empty
};

/// Parses an object, in time linear in the text.  Throws an Error "name:line:column: what; remedy" for whatever is not
/// valid JSON in UTF-8 and also, as readers differ in what they make of it, for a key that stands twice in an object, a
/// number beyond double, and more than 64 objects and lists in each other (those need stack where they are written or
/// compared). Columns count bytes from 1.
Json parse_json_object(std::string_view text, const JsonSource& source);

/// Parses a whole file.  Throws an Error, too, when it cannot be read.
Json read_json_object(const std::filesystem::path& file, const std::string& remedy = "");

/// Returns nothing for a file that does not exist, cannot be read or is damaged.
std::optional<Json> try_read_json_object(const std::filesystem::path& file);

/// Returns the value at a JSON pointer such as "/environment/started"; null where there is none.
const Json& value_at(const Json& tree, const std::string& place);

/// Returns a JSON value for a message: on one line, at most 100 bytes and then "...".
std::string excerpt(const Json& value);

}  // namespace qroar
