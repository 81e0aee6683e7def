// On a device: our kernel equals the CPU reference bit for bit, and every op agrees with its float64 reference.
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/rtn.h"
#include "support/catch.h"
#include "support/error_bounds.h"

namespace qroar {
TEST_CASE("RTN on the GPU equals the CPU bit for bit", "[gpu]") {
  at::manual_seed(5);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    at::Tensor weight = (at::randn({96, 576}) * 0.03).to(dtype);
    weight[3].zero_();
    weight[4].fill_(0.25);
    weight[5].abs_();
    for (int bits = 2; bits <= 8; ++bits) {
      for (const bool symmetric : {false, true}) {
        for (const auto zero : {ops::RtnZero::plain, ops::RtnZero::awq, ops::RtnZero::included}) {
          for (const int64_t group : {int64_t{32}, int64_t{64}, int64_t{576}, int64_t{0}, int64_t{-1}}) {
            for (const float clip : {1.0f, 0.9f}) {
              INFO(at::toString(dtype) << " bits " << bits << " symmetric " << symmetric << " zero "
                                       << static_cast<int>(zero) << " group " << group << " clip " << clip);
              const ops::RtnGrid grid{bits, symmetric, zero, clip};
              const at::Tensor expected = ops::reference::rtn_fake_quant(weight, group, grid);
              REQUIRE(at::equal(ops::rtn_fake_quant(weight.to(at::kCUDA), group, grid).to(at::kCPU), expected));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("RTN of groups and rows of any size, aligned or not, equals the CPU bit for bit", "[gpu]") {
  at::manual_seed(8);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    // Parts of a warp, whole warps, blocks; odd sizes; rows that shared memory does not hold (24000).
    for (const int64_t size : {1, 3, 8, 16, 31, 64, 100, 128, 129, 512, 1024, 1025, 4096, 4097, 11008, 14336, 24000}) {
      for (const int64_t rows : {1, 19, 300}) {
        const at::Tensor all = at::randn({rows * size + 1}).to(dtype), on_gpu = all.to(at::kCUDA);
        for (const int64_t offset : {0, 1}) {  // the second one begins beside every 16-byte boundary
          const auto view = [&](const at::Tensor& x) { return x.narrow(0, offset, rows * size).view({rows, size}); };
          for (const bool symmetric : {false, true}) {
            INFO(at::toString(dtype) << " " << rows << " x " << size << " from " << offset << ", symmetric "
                                     << symmetric);
            const ops::RtnGrid grid{4, symmetric, ops::RtnZero::included, symmetric ? 0.9f : 0.95f};
            REQUIRE(at::equal(ops::rtn_fake_quant(view(on_gpu), 0, grid).to(at::kCPU),
                              ops::reference::rtn_fake_quant(view(all), 0, grid)));
          }
        }
      }
    }
  }
}

TEST_CASE("a NaN weight stays visible on the GPU", "[gpu]") {
  at::Tensor weight = at::ones({2, 8});
  weight[0][5] = std::nan("");
  const at::Tensor out = ops::rtn_fake_quant(weight.to(at::kCUDA), 4, {4, false, ops::RtnZero::plain}).to(at::kCPU);
  REQUIRE(out.isnan().sum().item<int64_t>() == 4);
}

TEST_CASE("ops on the GPU agree with their float64 reference on the CPU", "[gpu]") {
  at::manual_seed(6);
  const int64_t T = 513, H = 6, K = 2, d = 64;
  const at::Tensor q = at::randn({T, H, d}, at::kDouble), k = at::randn({T, K, d}, at::kDouble),
                   v = at::randn({T, K, d}, at::kDouble);
  const at::Tensor weight = at::randn({H * d}, at::kDouble), angle = at::rand({T, d / 2}, at::kDouble) * 6;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    INFO(at::toString(dtype));
    const auto device = [&](const at::Tensor& x) { return x.to(at::kCUDA, dtype); };
    const auto rounded = [&](const at::Tensor& x) { return x.to(dtype).to(at::kDouble); };
    CHECK(relative_error(ops::causal_attention(device(q), device(k), device(v)),
                         ops::reference::causal_attention(rounded(q), rounded(k), rounded(v))) < tolerance(dtype));
    const at::Tensor x = q.view({T, H * d});
    CHECK(relative_error(ops::rms_norm(device(x), device(weight), 1e-5),
                         ops::reference::rms_norm(rounded(x), rounded(weight), 1e-5)) < tolerance(dtype));
    CHECK(relative_error(ops::silu_mul(device(x), device(x)), ops::reference::silu_mul(rounded(x), rounded(x))) <
          tolerance(dtype));
    at::Tensor rotated = device(q), expected = rounded(q);
    ops::rope_(rotated, {angle.cos().to(at::kCUDA, at::kFloat), angle.sin().to(at::kCUDA, at::kFloat)});
    ops::reference::rope_(expected, {angle.cos(), angle.sin()});
    CHECK(relative_error(rotated, expected) < tolerance(dtype));
    const at::Tensor targets = at::randint(H * d, {T}, at::kLong);
    CHECK(relative_error(ops::token_nll(device(x), targets.to(at::kCUDA)),
                         ops::reference::token_nll(rounded(x), targets)) < tolerance(dtype));
  }
}

TEST_CASE("the last queries by themselves agree with the definition on the GPU", "[gpu]") {
  at::manual_seed(10);
  const at::Tensor q = at::randn({513, 6, 64}, at::kDouble), k = at::randn({513, 2, 64}, at::kDouble),
                   v = at::randn({513, 2, 64}, at::kDouble);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const int64_t count : {1, 7, 300, 512}) {
      INFO(at::toString(dtype) << ", the last " << count);
      const auto device = [&](const at::Tensor& x) { return x.to(at::kCUDA, dtype); };
      const auto rounded = [&](const at::Tensor& x) { return x.to(dtype).to(at::kDouble); };
      const at::Tensor last = q.slice(0, 513 - count);
      CHECK(relative_error(ops::causal_attention(device(last), device(k), device(v)),
                           ops::reference::causal_attention(rounded(last), rounded(k), rounded(v))) < tolerance(dtype));
    }
  }
}

TEST_CASE("our row kernels agree with the definition for sizes and addresses of any kind", "[gpu]") {
  at::manual_seed(9);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t dim : {2, 30, 64, 100, 576, 4096, 11008, 32003}) {
      for (const int64_t rows : {1, 7, 300}) {
        for (const int64_t offset : {0, 1}) {  // the second one begins beside every 16-byte boundary
          INFO(at::toString(dtype) << " " << rows << " x " << dim << " from " << offset);
          const auto draw = [&](int64_t count) {
            return (at::randn({count + 1}) * 2).to(at::kCUDA, dtype).narrow(0, offset, count);
          };
          const at::Tensor x = draw(rows * dim).view({rows, dim}), y = draw(rows * dim).view({rows, dim}),
                           w = draw(dim);
          const auto wide = [](const at::Tensor& t) { return t.to(at::kCPU, at::kDouble); };
          CHECK(relative_error(ops::rms_norm(x, w, 1e-5), ops::reference::rms_norm(wide(x), wide(w), 1e-5)) <
                tolerance(dtype));
          CHECK(relative_error(ops::silu_mul(x, y), ops::reference::silu_mul(wide(x), wide(y))) < tolerance(dtype));
          const at::Tensor targets = at::randint(dim, {rows}, at::kLong);
          const at::Tensor nll = ops::token_nll(x, targets.to(at::kCUDA)).to(at::kCPU);
          CHECK((nll - ops::reference::token_nll(wide(x), targets)).abs().max().item<double>() < 2e-6);
          const at::Tensor angle = at::rand({rows, dim / 2}, at::kDouble) * 6;
          const ops::RopeAngles angles{angle.cos().to(at::kCUDA, at::kFloat), angle.sin().to(at::kCUDA, at::kFloat)};
          if (dim % 2 != 0) continue;
          at::Tensor turned = at::cat({x, y}, 1).view({rows, 2, dim}), expected = turned.clone();
          ops::rope_(turned, angles);
          ops::reference::rope_(expected, angles);
          CHECK(at::equal(turned, expected));
        }
      }
    }
  }
  at::Tensor bad = at::zeros({3, 64}, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
  bad[1][7] = std::nan("");
  CHECK(
      ops::token_nll(bad, at::zeros({3}, bad.options().dtype(at::kLong))).isnan().to(at::kLong).sum().item<int64_t>() ==
      1);
}

TEST_CASE("attention with a sliding window is the reference's on a GPU, for all queries, the last ones and one",
          "[gpu]") {
  at::manual_seed(11);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const int64_t window : {1, 64, 200, 299}) {
      const at::Tensor q = at::randn({300, 4, 64}), k = at::randn({300, 2, 64}), v = at::randn({300, 2, 64});
      const auto device = [&](const at::Tensor& x) { return x.to(at::kCUDA, dtype); };
      const auto rounded = [&](const at::Tensor& x) { return x.to(dtype).to(at::kDouble); };
      const ops::AttentionOptions options{window, 0};
      const at::Tensor want = ops::reference::causal_attention(rounded(q), rounded(k), rounded(v), options);
      for (const int64_t queries : {300, 100, 1}) {
        CAPTURE(at::toString(dtype), window, queries);
        const at::Tensor got =
            ops::causal_attention(device(q).slice(0, -queries).contiguous(), device(k), device(v), options);
        CHECK(relative_error(got, want.slice(0, -queries)) < tolerance(dtype));
      }
    }
  }
}

}  // namespace qroar
