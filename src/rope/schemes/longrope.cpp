// LongRoPE: every pair has its own divisor, found by search; one list for sequences up to L0 and one for longer ones.
// The lists come from a file (`factors`: JSON with short_factor and long_factor, or text with the long factors) or are
// given under Hugging Face's names.  Without a short list, sequences up to L0 use plain RoPE.
#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/number.h"
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

struct Divisors {
  std::vector<double> for_short, for_long;  // [d/2]; for_short may be empty
};

std::vector<double> numbers_in(const Json& list, const Config& place, const std::string& key) {
  const bool numbers =
      list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& x) { return x.is_number(); });
  if (!numbers) place.fail(fmt::format("'{}' in the file must be a list of numbers", key));
  return list.get<std::vector<double>>();
}

Divisors read_json(const std::filesystem::path& path, const Config& place) {
  const Json json = read_json_object(path, R"(JSON such as {"short_factor": [1, 1], "long_factor": [1, 8]} is read)");
  if (!json.contains("long_factor")) {
    place.fail("the file must hold JSON such as {\"short_factor\": [1, 1], \"long_factor\": [1, 8]}");
  }
  for (const auto& [key, value] : json.items()) {
    if (key != "short_factor" && key != "long_factor")
      place.fail(fmt::format("the file has the unknown key '{}'; it may hold short_factor and long_factor", key));
  }
  Divisors divisors;
  if (json.contains("short_factor")) divisors.for_short = numbers_in(json["short_factor"], place, "short_factor");
  divisors.for_long = numbers_in(json["long_factor"], place, "long_factor");
  return divisors;
}

/// Parses numbers separated by commas or white space.
Divisors parse_text(const std::string& text, const Config& place) {
  constexpr const char* kSeparators = ", \t\r\n";
  Divisors divisors;
  for (auto begin = text.find_first_not_of(kSeparators); begin != text.npos;) {
    const auto end = std::min(text.find_first_of(kSeparators, begin), text.size());
    double value = 0;
    if (read_number(std::string_view(text).substr(begin, end - begin), value) != std::errc()) {
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
      place.fail(fmt::format("line {} of the file: '{}' is no number", line, text.substr(begin, end - begin)));
    }
    divisors.for_long.push_back(value);
    begin = text.find_first_not_of(kSeparators, end);
  }
  return divisors;
}

Divisors read_divisors(const Config& config) {
  Divisors divisors;
  if (config.has("factors")) {
    if (config.has("long_factor")) config.fail("give either the file 'factors' or the list 'long_factor', not both");
    const Config place = config.at("factors");
    const std::filesystem::path path = place.as_file();
    divisors = path.extension() == ".json" ? read_json(path, place) : parse_text(read_file(path), place);
  } else {
    divisors.for_long = config.get<std::vector<double>>("long_factor");
    if (config.has("short_factor")) divisors.for_short = config.get<std::vector<double>>("short_factor");
  }
  for (const std::vector<double>& list : {divisors.for_short, divisors.for_long}) {
    for (double value : list) {
      const bool usable = value > 0 && std::isfinite(value);
      if (!usable) config.fail(fmt::format("a LongRoPE factor must be positive, found {}", value));
    }
  }
  return divisors;
}

class LongRope : public RopeScheme {
 public:
  explicit LongRope(const Config& config) : factor_(config), divisors_(read_divisors(config)) {
    if (config.has("attention_factor")) attention_ = config.get<double>("attention_factor", 1, {1e-3, 1e3});
  }

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    check(geometry.trained_length > 1, "longrope needs the trained length");
    RopeTable table{base_frequencies(geometry.rotary_dim, geometry.theta), attention(geometry)};
    const bool is_long = length > geometry.trained_length;
    const std::vector<double>& divisors = is_long ? divisors_.for_long : divisors_.for_short;
    if (!is_long && divisors.empty()) return table;
    if (divisors.size() != table.inv_freq.size()) {
      fail("longrope has {} {} factors, but head_dim {} needs {}", divisors.size(), is_long ? "long" : "short",
           geometry.rotary_dim, table.inv_freq.size());
    }
    for (std::size_t i = 0; i < divisors.size(); ++i) table.inv_freq[i] /= divisors[i];
    return table;
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    const std::vector<double> ones(divisors_.for_long.size(), 1.0);
    const std::vector<double>& for_short = divisors_.for_short.empty() ? ones : divisors_.for_short;
    return Json{{"rope_scaling",
                 longrope_scaling(geometry, factor_.of(geometry), attention(geometry), for_short, divisors_.for_long)}};
  }

 private:
  double attention(const RopeGeometry& geometry) const {
    if (attention_) return *attention_;
    return std::sqrt(1 + std::log(factor_.of(geometry)) / std::log(static_cast<double>(geometry.trained_length)));
  }

  Factor factor_;  ///< only the attention factor depends on it
  Divisors divisors_;
  std::optional<double> attention_;
};

const Register<RopeScheme, LongRope> kLongRope{
    "longrope",
    "LongRoPE (Ding et al., arXiv 2402.13753): d/2 divisors written out or in a file (factors: FILE); here head_dim 8",
    "{type: longrope, factor: 8, short_factor: [1, 1, 1, 1], long_factor: [1, 1.5, 4, 8]}"};

}  // namespace
}  // namespace qroar
