// ops::add_gram against float64.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "ops/ops.h"
#include "support/catch.h"

namespace qroar {
namespace {

at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype) { return at::randn(sizes, at::kDouble).to(dtype); }
at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

}  // namespace

TEST_CASE("Gram matrices of several calls are float64's, on any number of threads") {
  const int threads = at::get_num_threads();
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const auto& [rows, inputs] : {std::pair<int64_t, int64_t>{1, 5}, {7, 64}, {130, 200}, {259, 577}}) {
      const at::Tensor x = random({rows, inputs + 8}, dtype).narrow(1, 3, inputs), y = random({rows, inputs}, dtype);
      const auto sum_of = [&](const auto& add) {
        at::Tensor sum = at::zeros({inputs, inputs}, at::kFloat);
        add(sum, x);
        add(sum, y);
        return sum.triu();
      };
      const at::Tensor all = at::cat({wide(x), wide(y)}), want = all.t().matmul(all).triu();
      const at::Tensor size = all.norm(2, 0);
      CAPTURE(toString(dtype), rows, inputs);
      for (const auto& add : {ops::add_gram, ops::reference::add_gram}) {
        const at::Tensor error = (wide(sum_of(add)) - want).abs() / at::outer(size, size);
        CHECK(error.max().item<double>() < 0x1p-20);
      }
      at::set_num_threads(1);
      const at::Tensor one = sum_of(ops::add_gram);
      at::set_num_threads(2);
      CHECK(at::equal(sum_of(ops::add_gram), one));
      at::set_num_threads(threads);
    }
  }
}

}  // namespace qroar
