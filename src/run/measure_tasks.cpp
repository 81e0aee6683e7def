#include "run/measure_tasks.h"

namespace qroar {

Measured measure_tasks(const Cell& cell, const Llama& model, const TableOf& table_of, const AnglesOf& angles_of,
                       PartialCell& partial, const AdvanceTask& advance) {
  const Job& job = *cell.job;
  Measured measured;
  partial.start_clock();
  for (const auto& task : job.data.tasks) {
    const double flops = task->flops(job.model.config);
    double before = 0;
    const std::function<void(double)> report = [&](double done) {
      advance(flops * (done - before), task->name());
      before = done;
    };
    TaskResult result = task->run({model, angles_of, table_of, job.model.spec.bfloat16_rope,
                                   *job.model.opened.tokenizer, job.data.windows.length, report, partial});
    measured.add(result.values, Averaged::answers);
    measured.output.tasks[task->name()] = std::move(result.items);
  }
  if (cell.data == nullptr) measured.row["seconds"] = partial.seconds("");
  return measured;
}

}  // namespace qroar
