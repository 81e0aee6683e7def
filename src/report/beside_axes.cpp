#include "report/beside_axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "report/row_axes.h"
#include "results/results.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// The value of a row at a place of its configuration: null where it has none.
struct Entry {
  const Json* value = nullptr;
  bool is_said = false;  ///< covered by an axis there or above
};
using Entries = std::vector<Entry>;  // one per row

/// Removes values that follow from others.
Json without_derived_values(Json config) {
  if (has_default_stride(config)) config["windows"].erase("stride");
  return config;
}

class Search {
 public:
  explicit Search(const std::vector<Json>& rows)
      : rows_(rows), found_(rows.size(), Json::object()), axes_(rows.size()) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      configs_.push_back(without_derived_values(rows[i]["config"]));
      for (const auto& [axis, value] : rows[i]["axes"].items()) axes_[i].insert(json_pointer_of(axis));
    }
  }

  std::vector<Json> run() {
    Entries roots;
    for (std::size_t i = 0; i < configs_.size(); ++i) roots.push_back({&configs_[i], is_damaged(rows_[i])});
    compare("", roots);
    return std::move(found_);
  }

 private:
  void compare(const std::string& path, Entries entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      entry.is_said = entry.is_said || axes_[i].contains(json_pointer_of(path));
      // Rows whose quantizers need no calibration texts have none, whatever the experiment contains.
      if (path == "calibration" && entry.value == nullptr) entry.is_said = true;
    }
    std::vector<const Json*> unsaid;
    for (const Entry& entry : entries) {
      if (!entry.is_said) unsaid.push_back(entry.value);
    }
    const auto equal = [&](const Json* a) {
      return a == nullptr || unsaid[0] == nullptr ? a == unsaid[0] : *a == *unsaid[0];
    };
    if (unsaid.size() < 2 || std::ranges::all_of(unsaid, equal)) return;
    if (is_same_shape(unsaid, &Json::is_object)) return compare_keys(path, entries);
    if (is_same_shape(unsaid, &Json::is_array)) return compare_items(path, entries, unsaid[0]->size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Json& value = value_at(rows_[i]["config"], json_pointer_of(path));
      if (!entries[i].is_said && !value.is_null()) found_[i][path] = value;
    }
  }

  /// Returns whether the values are blocks of one type, or lists of equal length: the difference is then inside.
  static bool is_same_shape(const std::vector<const Json*>& values, bool (Json::*is_kind)() const noexcept) {
    return std::ranges::all_of(values, [&](const Json* value) {
      if (value == nullptr || !(value->*is_kind)()) return false;
      if (value->is_object()) return value_at(*value, "/type") == value_at(*values[0], "/type");
      return value->size() == values[0]->size() &&
             std::ranges::all_of(*value, [](const Json& item) { return item.is_object(); });
    });
  }

  void compare_keys(const std::string& path, const Entries& entries) {
    std::vector<std::string> keys;
    for (const Entry& entry : entries) {
      if (entry.is_said) continue;
      for (const auto& [key, value] : entry.value->items()) {
        if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
      }
    }
    for (const std::string& key : keys) compare(path.empty() ? key : path + "." + key, below(entries, key));
  }

  void compare_items(const std::string& path, const Entries& entries, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) compare(fmt::format("{}[{}]", path, i), below(entries, i));
  }

  static Entries below(const Entries& entries, const auto& key) {
    Entries found;
    for (const Entry& entry : entries) {
      found.push_back({nullptr, entry.is_said});
      if (entry.is_said) continue;
      if constexpr (std::is_integral_v<std::decay_t<decltype(key)>>) {
        found.back().value = &entry.value->at(key);
      } else if (entry.value->contains(key)) {
        found.back().value = &entry.value->at(key);
      }
    }
    return found;
  }

  const std::vector<Json>& rows_;
  std::vector<Json> configs_, found_;
  std::vector<std::set<std::string>> axes_;  ///< as JSON pointers
};

std::string until_colon(const Json& word) {
  const std::string text = word.is_string() ? word.get<std::string>() : "";
  return text.substr(0, text.find(':'));
}

/// Adds "environment.device" and the like, where rows differ in it and their configuration does not already show that.
void add_fact(const std::vector<Json>& rows, const std::string& fact, const std::string& configured,
              std::vector<Json>& found) {
  std::set<std::string> known;
  bool is_said = true;
  std::vector<std::string> words;
  for (const Json& row : rows) {
    words.push_back(until_colon(value_at(row, json_pointer_of(fact))));
    if (words.back().empty()) continue;  // a row of an older version
    known.insert(words.back());
    is_said = is_said && words.back() == until_colon(value_at(row, "/config" + json_pointer_of(configured)));
  }
  for (std::size_t i = 0; i < rows.size() && known.size() > 1 && !is_said; ++i) {
    if (!words[i].empty()) found[i][fact] = words[i];
  }
}

/// Adds "quant", as a label, where rows differ in what their checkpoint's weights went through before.
void add_imported(const std::vector<Json>& rows, std::vector<Json>& found) {
  std::set<std::string> known;
  for (const Json& row : rows) known.insert(value_at(row, "/environment/imported/label").dump());
  for (std::size_t i = 0; i < rows.size() && known.size() > 1; ++i) {
    if (rows[i]["axes"].contains("quant")) continue;
    const Json& quant = value_at(rows[i], "/config/quant");
    found[i]["quant"] = with_imported(rows[i], quant.is_null() ? "none" : axis_label(quant));
  }
}

}  // namespace

std::vector<Json> beside_axes(const std::vector<Json>& rows, bool of_several_plans) {
  std::vector<Json> found = Search(rows).run();
  add_fact(rows, "environment.device", "model.device", found);
  add_fact(rows, "environment.dtype", "model.dtype", found);
  add_imported(rows, found);
  if (!of_several_plans) return found;
  for (const std::string& axis : axis_names(rows)) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Json& value = value_at(rows[i]["config"], json_pointer_of(axis));
      if (!rows[i]["axes"].contains(axis) && !value.is_null()) found[i][axis] = value;
    }
  }
  return found;
}

}  // namespace qroar
