// How often each RoPE pair rotates fully under the cell's scheme, in closed form.  A pair whose period is incomplete
// over the trained length L0 has shown only a part of its phases in training: in Llama-2, pairs 46 to 63
// (docs/method.md 3.3). Columns: pair, band, wavelength_tokens (2 pi / omega', inf for a pair that stands),
// wraps_trained and wraps_target (omega' D / 2 pi at D = L0 and at windows.length), incomplete_trained and
// incomplete_target (1: fewer than one wrap).
#include <numbers>

#include "diagnostics/diagnostic.h"
#include "rope/bands.h"

namespace qroar {
namespace {

class Phase : public Diagnostic {
 public:
  explicit Phase(const Config& config) : bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {}; }

  CsvTable run(const DiagnosticInput& input) const override {
    CsvTable table{{"pair", "band", "wavelength_tokens", "wraps_trained", "wraps_target", "incomplete_trained",
                    "incomplete_target"},
                   {}};
    const RopeGeometry& geometry = input.geometry;
    const std::vector<double> inv_freq = input.scheme.table(geometry, geometry.target_length).inv_freq;
    const std::vector<int64_t> edges = bands_.edges(static_cast<int64_t>(inv_freq.size()));
    std::size_t band = 0;
    for (std::size_t i = 0; i < inv_freq.size(); ++i) {
      if (static_cast<int64_t>(i) == edges[band + 1]) ++band;
      const double wavelength = 2 * std::numbers::pi / inv_freq[i];
      const double trained = static_cast<double>(geometry.trained_length) / wavelength,
                   target = static_cast<double>(geometry.target_length) / wavelength;
      table.rows.push_back({std::to_string(i), std::to_string(band), csv_number(wavelength), csv_number(trained),
                            csv_number(target), trained < 1 ? "1" : "0", target < 1 ? "1" : "0"});
    }
    return table;
  }

 private:
  BandsOption bands_;
};

const Register<Diagnostic, Phase> kPhase{
    "phase", "wavelength of each RoPE pair under the scheme, its wraps, and whether its period is incomplete",
    "{type: phase, bands: 6}"};

}  // namespace
}  // namespace qroar
