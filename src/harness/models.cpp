#include "harness/models.h"

#include "base/error.h"

namespace qroar {

const Checkpoint& Models::checkpoint(const Job& job) {
  if (checkpoint_ == nullptr || path_ != job.model.path) {
    full_key_.clear();
    quant_key_.clear();
    quantized_ = full_ = {};
    checkpoint_ = std::make_unique<Checkpoint>(job.model.path);
    path_ = job.model.path;
    hash_ = checkpoint_->hash();
  }
  return *checkpoint_;
}

const std::string& Models::hash(const Job& job) {
  checkpoint(job);
  return hash_;
}

const Llama& Models::model(const Job& job, const at::Device& device) {
  const Checkpoint& source = checkpoint(job);
  const std::string full_key = fmt::format("{} {}", at::toString(job.model.dtype), device.str());
  if (full_key != full_key_) {
    full_key_.clear();
    quant_key_.clear();
    quantized_ = full_ = {};  // free the old weights before the new ones are made
    full_ = source.build(job.model.dtype, device);
    full_key_ = full_key;
  }
  if (job.quant_key != quant_key_) {
    quant_key_.clear();
    quantized_ = {};
    quantized_ = apply(job.quant, full_);
    quant_key_ = job.quant_key;
  }
  return quantized_;
}

}  // namespace qroar
