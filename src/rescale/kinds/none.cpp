// Leaves the model unchanged.
#include "rescale/rescaling.h"

namespace qroar {
namespace {

class None : public Rescaling {
 public:
  explicit None(const Config&) {}
  void bind(const LlamaConfig&) override {}
};

const Register<Rescaling, None> kNone{"none", "the scheme's frequencies and the model's scales", "{type: none}"};

}  // namespace
}  // namespace qroar
