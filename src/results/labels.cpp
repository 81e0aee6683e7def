// Labels of tables and plots for the values of axes and for the blocks of a configuration.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "results/results.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns "shared ×6 searched (cma_es)": the block `rescale` without details that are of little use in a table.
std::string bands_label(const Json& block) {
  std::string label = block.contains("variant") ? axis_label(block["variant"]) : "shared";
  if (block.contains("bands")) label += " ×" + block["bands"].dump();
  if (block.contains("edges")) label += " edges " + block["edges"].dump();
  if (value_at(block, "/per_layer") == true) label += " per layer";
  if (value_at(block, "/per_head") == true) label += " per head";
  for (const char* key : {"scales", "file"}) {
    if (block.contains(key)) label += " " + axis_label(block[key]);
  }
  if (!block.contains("search")) return label;
  label += " searched";
  const Json& search = block["search"];
  if (search.contains("strategy")) label += " (" + axis_label(search["strategy"]) + ")";
  if (const Json& points = value_at(search, "/grid/points"); !points.is_null()) label += " points=" + points.dump();
  return label;
}

/// Returns whether an item is a rule of `quant` with a name: the rules beside it, for layers of other sizes perhaps,
/// are then part of what it names.
bool is_named_rule(const Json& item) { return !value_at(item, "/match").is_null() && item.contains("name"); }

}  // namespace

std::string axis_label(const Json& value, char bits_of) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const bool has_control = std::ranges::any_of(text, [](unsigned char c) { return std::iscntrl(c) != 0; });
    return has_control ? value.dump() : text;
  }
  if (value.is_array()) {
    const bool named = std::ranges::any_of(value, is_named_rule);
    std::string label;
    for (const Json& item : value) {
      if (!named || is_named_rule(item)) label += (label.empty() ? "" : " + ") + axis_label(item);
    }
    return label.empty() ? "none" : label;
  }
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());  // 8.0 of a resolved value is 8
  if (!value.is_object()) return value.dump();
  if (const Json& name = value_at(value, "/name"); name.is_string()) return axis_label(name);
  if (value.contains("weight") || value.contains("input")) {  // a rule of `quant`
    std::string label;
    for (const auto& [part, letter] : {std::pair("weight", 'W'), std::pair("input", 'A')}) {
      const std::string text = value.contains(part) ? axis_label(value[part], letter) : "none";
      if (text != "none") label += (label.empty() ? "" : ", ") + text;
    }
    return label.empty() ? "none" : label;
  }
  std::string label = value.contains("type") ? axis_label(value["type"]) : "";
  if (label == "bands") return bands_label(value);
  if (label == "multiple_choice") label.clear();  // its file names the task
  for (const auto& [key, entry] : value.items()) {
    const char operand = key == "key" ? 'K' : key == "value" ? 'V' : key == "query" ? 'Q' : bits_of;
    const std::string text = axis_label(entry, operand);
    if (key == "type" || (key == "factor" && text == "auto") || key == "prompt") continue;
    label += label.empty() ? "" : " ";
    if (key == "pad")
      label += "padded to " + value_at(entry, "/tokens").dump();
    else if (key == "path")
      label += std::filesystem::path(text).stem();
    else if (key == "bits")
      label += bits_of + text;
    else if (key == "factor")
      label += "×" + text;
    else if (key == "group")
      label += entry == 0 ? "per row" : entry == -1 ? "per tensor" : "g" + text;
    else
      label += key + "=" + text;
  }
  return label;
}

}  // namespace qroar
