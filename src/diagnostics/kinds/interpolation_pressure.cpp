// The pressure of the cell's scheme on each RoPE pair, in closed form, without a forward (rope/pressure.h).
// Columns: band, pair (empty: the band), statistic (of a band: mean or max over its pairs; empty for a pair),
// pressure_rad (|d phi / d ln s|) and displacement_rad (|omega - omega'| D), both at the distance D.
#include <algorithm>
#include <numeric>

#include "diagnostics/diagnostic.h"
#include "rope/bands.h"
#include "rope/pressure.h"

namespace qroar {
namespace {

class InterpolationPressure : public Diagnostic {
 public:
  explicit InterpolationPressure(const Config& config) : bands_(config) {
    if (config.has("distance")) distance_ = config.get<int64_t>("distance", 1, {1, int64_t{1} << 31});
  }

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {}; }

  CsvTable run(const DiagnosticInput& input) const override {
    const int64_t length = input.geometry.target_length;
    const auto distance = static_cast<double>(distance_.value_or(length));
    const std::vector<double> pressure = interpolation_pressure(input.scheme, input.geometry, length, distance),
                              displacement = phase_displacement(input.scheme, input.geometry, length, distance);
    CsvTable table{{"band", "pair", "statistic", "pressure_rad", "displacement_rad"}, {}};
    const std::vector<int64_t> edges = bands_.edges(static_cast<int64_t>(pressure.size()));
    for (std::size_t band = 0; band + 1 < edges.size(); ++band) {
      const auto begin = static_cast<std::size_t>(edges[band]), end = static_cast<std::size_t>(edges[band + 1]);
      for (std::size_t i = begin; i < end; ++i) {
        add(table, band, std::to_string(i), "", pressure[i], displacement[i]);
      }
      add(table, band, "", "mean", mean(pressure, begin, end), mean(displacement, begin, end));
      add(table, band, "", "max", max(pressure, begin, end), max(displacement, begin, end));
    }
    return table;
  }

 private:
  static void add(CsvTable& table, std::size_t band, const std::string& pair, const std::string& statistic,
                  double pressure, double displacement) {
    table.rows.push_back({std::to_string(band), pair, statistic, csv_number(pressure), csv_number(displacement)});
  }
  static double mean(const std::vector<double>& x, std::size_t begin, std::size_t end) {
    return std::accumulate(&x[begin], x.data() + end, 0.0) / static_cast<double>(end - begin);
  }
  static double max(const std::vector<double>& x, std::size_t begin, std::size_t end) {
    return *std::max_element(&x[begin], x.data() + end);
  }

  BandsOption bands_;
  std::optional<int64_t> distance_;  ///< tokens; empty: windows.length
};

const Register<Diagnostic, InterpolationPressure> kInterpolationPressure{
    "interpolation_pressure", "how far each RoPE pair's phase moves with the scheme's factor, and from plain RoPE",
    "{type: interpolation_pressure, distance: 4096, bands: 6}"};

}  // namespace
}  // namespace qroar
