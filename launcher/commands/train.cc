// timepipe train

#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>

#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/process/job.h"
#include "launcher/run/run.h"

namespace timepipe {

void add_train(CLI::App& app, int& status) {
  CLI::App& command = *app.add_subcommand("train", "Train a model");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(command);
  command.footer(
      "Example: a sequence shared by two ranks\n"
      "  mpirun -n 2 timepipe train configs/demo.textproto parallel.time=2 \\\n"
      "    data.train=book.txt optimizer.steps=100\n"
      "SIGINT (Ctrl-C), SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU to any\n"
      "rank: a run with run_dir saves at the end of the step and leaves, at\n"
      "another signal at once (the same one again within five seconds is the\n"
      "same request); the same command goes on from there. Without run_dir it\n"
      "leaves at once. Exit status: 0 when all steps are done, 128 + signal\n"
      "(130, 143, ...) when one ended the run before, so that it doesn't look\n"
      "finished, 1 for a mistake, 75 when a rank is gone.");
  command.callback([=, &status] {
    // A log that nobody reads any more ends no training.
    std::signal(SIGPIPE, SIG_IGN);
    int trained = 0;
    status = run_job(nullptr, nullptr, [&](Communicator& world) {
      trained = train(world, options->path, options->overrides);
    });
    if (status == 0) status = trained;
  });
}

}  // namespace timepipe
