// CMA-ES (Hansen, arXiv 1604.00772; the (mu/mu_w, lambda) form with its default constants; the comments at the lines
// give the equation numbers), started at the identity, in ln g, until the budget is spent.  Points outside of a window
// are moved to its edge.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "search/strategy.h"

namespace qroar {
namespace {

class CmaEs : public Strategy {
 public:
  explicit CmaEs(const Config& config) : sigma_(config.get<double>("sigma", 0.05, {1e-6, 10})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const override {
    const auto n = static_cast<int64_t>(space.size());
    const auto dimensions = static_cast<double>(n);
    const auto lambda = static_cast<int64_t>(4 + std::floor(3 * std::log(dimensions)));
    const int64_t mu = lambda / 2;
    at::Tensor weight_M =
        std::log((static_cast<double>(lambda) + 1) / 2) - at::arange(1, mu + 1, at::kDouble).log();  // (49)
    weight_M = weight_M / weight_M.sum();
    const double mu_eff = 1 / weight_M.square().sum().item<double>();  // (8)
    const double c_sigma = (mu_eff + 2) / (dimensions + mu_eff + 5);   // (55)
    const double d_sigma = 1 + 2 * std::max(0.0, std::sqrt((mu_eff - 1) / (dimensions + 1)) - 1) + c_sigma;
    const double c_c = (4 + mu_eff / dimensions) / (dimensions + 4 + 2 * mu_eff / dimensions);  // (56)
    const double c_1 = 2 / ((dimensions + 1.3) * (dimensions + 1.3) + mu_eff);                  // (57)
    const double c_mu = std::min(
        1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((dimensions + 2) * (dimensions + 2) + mu_eff));  // (58)
    const double expected_norm =
        std::sqrt(dimensions) * (1 - 1 / (4 * dimensions) + 1 / (21 * dimensions * dimensions));
    double sigma = sigma_;
    at::Tensor mean_N = at::zeros({n}, at::kDouble), path_sigma_N = at::zeros({n}, at::kDouble),
               path_c_N = at::zeros({n}, at::kDouble), covariance_NN = at::eye(n, at::kDouble);
    for (int64_t generation = 0; !objective.exhausted(); ++generation) {
      const auto [values_N, basis_NN] = at::linalg_eigh(covariance_NN);
      const at::Tensor scale_N = values_N.clamp_min(1e-20).sqrt();
      std::vector<std::pair<double, at::Tensor>> offspring;
      for (int64_t k = 0; k < lambda; ++k) {
        std::vector<double> z(static_cast<std::size_t>(n));
        for (double& value : z) value = standard_normal(random);
        const at::Tensor wanted_N = mean_N + sigma * at::mv(basis_NN, scale_N * at::tensor(z, at::kDouble));
        const auto* data = wanted_N.const_data_ptr<double>();
        const std::vector<double> point = space.clamped({data, data + n});
        offspring.emplace_back(objective.score(point), (at::tensor(point, at::kDouble) - mean_N) / sigma);
      }
      if (objective.exhausted() && std::isinf(offspring.back().first)) return;
      std::stable_sort(offspring.begin(), offspring.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      std::vector<at::Tensor> steps;
      for (int64_t k = 0; k < mu; ++k) steps.push_back(offspring[static_cast<std::size_t>(k)].second);
      const at::Tensor step_MN = at::stack(steps);
      const at::Tensor step_N = at::mv(step_MN.t(), weight_M);  // (41)
      mean_N = mean_N + sigma * step_N;                         // (42)
      const at::Tensor whitened_N = at::mv(basis_NN, at::mv(basis_NN.t(), step_N) / scale_N);
      path_sigma_N = (1 - c_sigma) * path_sigma_N + std::sqrt(c_sigma * (2 - c_sigma) * mu_eff) * whitened_N;  // (43)
      const double norm = path_sigma_N.norm().item<double>();
      const double unbiased = std::sqrt(1 - std::pow(1 - c_sigma, 2.0 * static_cast<double>(generation + 1)));
      const double stalled = norm / unbiased < (1.4 + 2 / (dimensions + 1)) * expected_norm ? 1 : 0;
      path_c_N = (1 - c_c) * path_c_N + stalled * std::sqrt(c_c * (2 - c_c) * mu_eff) * step_N;  // (45)
      covariance_NN = (1 - c_1 - c_mu + (1 - stalled) * c_1 * c_c * (2 - c_c)) * covariance_NN +
                      c_1 * at::outer(path_c_N, path_c_N) + c_mu * at::matmul(step_MN.t() * weight_M, step_MN);  // (47)
      sigma *= std::exp(c_sigma / d_sigma * (norm / expected_norm - 1));                                         // (44)
    }
  }
  double most_forwards(std::size_t, int64_t) const override { return std::numeric_limits<double>::infinity(); }

 private:
  double sigma_;  ///< initial step size, in ln g
};

const Register<Strategy, CmaEs> kCmaEs{
    "cma_es", "covariance matrix adaptation (Hansen, arXiv 1604.00772) until the budget is spent",
    "{type: cma_es, sigma: 0.05}"};

}  // namespace
}  // namespace qroar
