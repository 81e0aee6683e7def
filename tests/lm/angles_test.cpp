// From frequencies to cos and sin.
#include "model/angles.h"

#include "support/catch.h"

namespace qroar {

TEST_CASE("cos and sin are those of position times frequency in double, times the attention factor, rounded once") {
  const RopeTable table{{1.0, 0.25}, 1.5};
  const auto angles = rope_angles(table, 40000, at::kBFloat16, at::kCPU, false);
  REQUIRE(angles.cos_TP.sizes() == at::IntArrayRef({40000, 2}));
  REQUIRE(angles.cos_TP.scalar_type() == at::kFloat);
  CHECK(angles.cos_TP[0][0].item<float>() == 1.5f);
  CHECK(angles.sin_TP[0][1].item<float>() == 0.0f);
  // float32 angles would be off by up to 2e-3 here (docs/method.md 2.4).
  CHECK(angles.cos_TP[39999][0].item<float>() == static_cast<float>(1.5 * std::cos(39999.0)));
  CHECK(angles.sin_TP[39999][1].item<float>() == static_cast<float>(1.5 * std::sin(39999.0 * 0.25)));
  CHECK(rope_angles(table, 8, at::kDouble, at::kCPU, false).cos_TP.scalar_type() == at::kDouble);
}

TEST_CASE("rope_dtype bfloat16 rounds positions and frequencies: positions beyond 256 fall together") {
  const RopeTable table{{1.0, 0.3}, 1.0};
  const auto exact = rope_angles(table, 600, at::kFloat, at::kCPU, false);
  const auto rounded = rope_angles(table, 600, at::kFloat, at::kCPU, true);
  CHECK(at::equal(rounded.cos_TP[100][0], exact.cos_TP[100][0]));  // 100 and 1 are exact in 8 bits
  CHECK(at::equal(rounded.cos_TP[257][0], exact.cos_TP[256][0]));  // 257 is a tie between 256 and 258, and goes to even
  CHECK(at::equal(rounded.cos_TP[515][0], exact.cos_TP[516][0]));  // spacing 4: 515 goes to 516
  CHECK(rounded.cos_TP[100][1].item<float>() == static_cast<float>(std::cos(100 * 0.30078125)));  // 0.3 in bfloat16
}

}  // namespace qroar
