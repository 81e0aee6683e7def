#include "report/changed_files.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "results/row_shape.h"

namespace qroar {
namespace {

/// A hash among a row's inputs, and the place of its configuration that names the files; `by_model`: what is hashed
/// depends on the model, too, as the tokens of a text do.
struct Input {
  const char *name, *named_at;
  bool by_model = false;
};
constexpr std::array kInputs{Input{"model", "/config/model/path"},
                             Input{"tokenizer", "/config/model/path"},
                             Input{"data", "/config/data/path"},
                             Input{"reference", "/config/reference"},
                             Input{"tasks", "/config/tasks"},
                             Input{"calibration", "/config/calibration", true},
                             Input{"dev", "/config/rescale/search/data"},
                             Input{"scales", "/config/rescale", true}};

/// Returns what names the files of an input.
Json name_of(const Json& row, const Input& input) {
  Json name = Json::array();
  name.push_back(value_at(row, input.named_at));
  if (input.by_model) name.push_back(value_at(row, "/config/model/path"));
  return name;
}

const Json& hashes_of(const Json& row) { return value_at(row, "/environment/inputs"); }

}  // namespace

std::string changed_between(const Json& a, const Json& b) {
  const Json &own = hashes_of(a), &other = hashes_of(b);
  for (const Input& input : kInputs) {
    const bool differ = own.contains(input.name) && other.contains(input.name) && own[input.name] != other[input.name];
    if (differ && name_of(a, input) == name_of(b, input)) return input.name;
  }
  return "";
}

std::string changed_files(const std::vector<Json>& rows) {
  for (const Input& input : kInputs) {
    std::map<Json, const Json*> known;
    for (const Json& row : rows) {
      const Json& hashes = hashes_of(row);
      if (!hashes.contains(input.name)) continue;
      const Json& own = hashes[input.name];
      const auto [first, is_new] = known.emplace(name_of(row, input), &own);
      if (!is_new && *first->second != own) {
        return fmt::format(
            "warning: some rows read another version of the {} than others do; run the experiment again\n", input.name);
      }
    }
  }
  return "";
}

}  // namespace qroar
