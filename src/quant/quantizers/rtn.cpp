// Round to nearest, using only the weight's own extremes.
#include "quant/rtn.h"

namespace qroar {
namespace {

const Register<Quantizer, Rtn> kRtn{
    "rtn",
    "round to nearest; group > 0 along the inputs, 0 per row, -1 per tensor; zero: plain | awq | included; clip <= 1; "
    "scale_dtype: float32 | float16 | bfloat16",
    "{type: rtn, bits: 4, group: 64, symmetric: false, zero: plain}"};

}  // namespace
}  // namespace qroar
