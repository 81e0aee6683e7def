// Every JSON value that differs from a given one in one field: what a damaged or edited file may hold.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"

namespace qroar {

/// Returns the JSON pointers of every place below a value, itself first; lists count as one place.
inline std::vector<std::string> places_of(const Json& value, const std::string& place = "") {
  std::vector<std::string> places{place};
  if (!value.is_object()) return places;
  for (const auto& [key, inner] : value.items()) {
    const auto below = places_of(inner, place + "/" + key);
    places.insert(places.end(), below.begin(), below.end());
  }
  return places;
}

struct Mutation {
  std::string what;  ///< "/metrics/nll/value = null"
  Json value;
};

/// Takes each field out, and puts a value of each type into its place.
inline std::vector<Mutation> mutations_of(const Json& whole) {
  std::vector<Mutation> mutations;
  for (const std::string& place : places_of(whole)) {
    const Json::json_pointer pointer(place);
    for (const char* value :
         {"null", "3", "-1.5", "true", "\"x\"", "[]", "{}", "[3]", "[{}]", "{\"x\": 3}", "{\"type\": 3}"}) {
      Json changed = whole;
      changed[pointer] = Json::parse(value);
      mutations.push_back({place + " = " + value, std::move(changed)});
    }
    if (place.empty()) continue;
    Json changed = whole;
    changed[pointer.parent_pointer()].erase(pointer.back());
    mutations.push_back({place + " is missing", std::move(changed)});
  }
  return mutations;
}

}  // namespace qroar
