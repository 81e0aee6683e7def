#include "report/changed_files.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "results/row_shape.h"

namespace qroar {
namespace {

/// A hash among a row's inputs, and the place of its configuration that names the files.
struct Input {
  const char *name, *named_at;
};
constexpr std::array kInputs{Input{"model", "/config/model/path"}, Input{"tokenizer", "/config/model/path"},
                             Input{"data", "/config/data/path"}, Input{"reference", "/config/reference"},
                             Input{"tasks", "/config/tasks"}};

const Json& hash_of(const Json& row, const Input& input) {
  return value_at(row, std::string("/environment/inputs/") + input.name);
}

}  // namespace

std::string changed_between(const Json& a, const Json& b) {
  for (const Input& input : kInputs) {
    const Json &own = hash_of(a, input), &other = hash_of(b, input);
    const bool both = !own.is_null() && !other.is_null();
    if (both && own != other && value_at(a, input.named_at) == value_at(b, input.named_at)) return input.name;
  }
  return "";
}

std::string changed_files(const std::vector<Json>& rows) {
  for (const Input& input : kInputs) {
    std::map<Json, const Json*> known;
    for (const Json& row : rows) {
      const Json& own = hash_of(row, input);
      if (own.is_null()) continue;
      const auto [first, is_new] = known.emplace(value_at(row, input.named_at), &own);
      if (!is_new && *first->second != own) {
        return fmt::format(
            "warning: some rows read another version of the {} than others do; run the experiment again\n", input.name);
      }
    }
  }
  return "";
}

}  // namespace qroar
