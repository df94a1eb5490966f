// The program: its command line names a command of launcher/commands.

#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>

#include "launcher/commands/commands.h"
#include "launcher/process/standard_output.h"
#include "runtime/error.h"

namespace {

constexpr int kUserMistake = 1, kBlocked = 75;

int run(int argc, char** argv) {
  CLI::App app(
      "Trains TTT-layer language models on long sequences, pipelined "
      "through time over ranks.",
      "timepipe");
  app.require_subcommand(0, 1);
  app.footer(
      "Example:\n  timepipe train configs/demo.textproto data.train=book.txt");
  int status = 0;
  timepipe::add_train(app, status);
  timepipe::add_eval(app, status);
  timepipe::add_score(app, status);
  timepipe::add_generate(app, status);
  timepipe::add_data(app, status);
  timepipe::add_checkpoint(app, status);
  timepipe::add_config(app, status);
  timepipe::add_plan(app, status);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::string command = "timepipe";
    for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    std::cerr << "timepipe: " << error.what() << " (see " << command
              << " --help)\n";
    return kUserMistake;
  }
  if (!app.get_subcommands().empty()) {
    // A log that is full ends no training.
    if (!app.got_subcommand("train")) timepipe::write_output("");
    return status;
  }
  std::cerr << app.help();
  return kUserMistake;
}

}  // namespace

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  // A file beyond the limit of its size is an error of write(), told as such.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const timepipe::Blocked& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kBlocked;
  } catch (const timepipe::OutputClosed&) {
    return kUserMistake;
  } catch (const std::exception& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kUserMistake;
  }
}
