// The program: its command line names a command of launcher/commands.

#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "launcher/commands/commands.h"
#include "launcher/process/job.h"
#include "launcher/process/out_of_memory.h"
#include "launcher/process/set_threads.h"
#include "launcher/process/standard_output.h"
#include "launcher/process/version.h"
#include "runtime/error.h"
#include "runtime/standard_streams.h"

namespace {

constexpr int kUserMistake = 1, kBlocked = 75;

// The command that was given, or the program itself.
const CLI::App& last_command(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : last_command(*given.front());
}

// " data prepare"; empty without a command.
std::string command_of(const CLI::App& app) {
  const auto given = app.get_subcommands();
  if (given.empty()) return "";
  return " " + given.front()->get_name() + command_of(*given.front());
}

// An option or a command that there isn't is the mistake, also where another is
// missing because of it.
std::string mistake_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  for (const std::string& argument : unknown) {
    if (argument.starts_with('-')) return "no option " + argument;
  }
  const bool wants_command =
      !last_command(app).get_subcommands(nullptr).empty();
  if (!unknown.empty() && wants_command) {
    return "no command " + unknown.front();
  }
  return error.what();
}

int run(int argc, char** argv) {
  CLI::App app(
      "Trains TTT-layer language models on long sequences, pipelined "
      "through time over ranks.",
      "timepipe");
  app.require_subcommand(0, 1);
  app.set_version_flag("--version", timepipe::version_text(),
                       "Print version and commit and exit");
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
  timepipe::add_bench(app, status);
  app.parse_complete_callback([&app] {  // before what the command does
    if (app.get_subcommands().empty() || app.got_subcommand("train")) return;
    if (!timepipe::works_here(command_of(app).substr(1))) throw CLI::Success();
    timepipe::set_threads_alone();
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream text;
      app.exit(error, text);
      timepipe::write_output(text.str());
      return 0;
    }
    std::cerr << "timepipe: " << mistake_of(app, error) << " (see timepipe"
              << command_of(app) << " --help)\n";
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
  timepipe::open_closed_streams();
  timepipe::restart_with_wait_policy(argv);
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
    std::cerr << "timepipe: " << timepipe::line_of(error) << "\n";
    return kUserMistake;
  }
}
