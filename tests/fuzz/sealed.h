// Lines of JSON with the hash of what they say, which the readers of partial.jsonl and journals demand.
#pragma once
#include <sstream>

#include "base/hash.h"
#include "fuzz.h"

namespace qroar {

/// Puts the hash into every line that is an object, with `salt` before what is hashed; leaves others as they are.
inline std::string sealed(const std::string& text, const std::string& salt) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) {
      json["hash"] = nullptr;
      json["hash"] = hash_bytes(salt + json.dump(-1, ' ', false, Json::error_handler_t::replace));
      line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace qroar
