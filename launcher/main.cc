#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "launcher/commands.h"
#include "launcher/config.h"
#include "runtime/error.h"

namespace {

constexpr int kUserMistake = 1, kBlocked = 75;

// CONFIG [path=value ...], the arguments of several subcommands.
struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;

  void add_to(CLI::App& command) {
    command.add_option("CONFIG", path, "Configuration, text format")
        ->required();
    command.add_option("path=value", overrides,
                       "Fields that differ, such as model.num_layers=4");
  }
};

void add_data_ngram(CLI::App& data, int& status) {
  struct Arguments {
    std::string file;
    double held_out = 0;
    int max_order = 4;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& ngram = *data.add_subcommand(
      "ngram",
      "Bits per byte of n-gram models, a baseline: they learn from a file of "
      "bytes and are scored on the share at its end");
  ngram
      .add_option("--train", arguments->file, "Text, or a file of byte tokens")
      ->required();
  ngram
      .add_option("--held-out", arguments->held_out,
                  "Share at the end to score, as data.held_out")
      ->required();
  ngram.add_option("--max-order", arguments->max_order,
                   "Most bytes of a gram, 2 to 8; default 4");
  ngram.footer(
      "Example:\n  timepipe data ngram --train book.txt --held-out 0.02");
  ngram.callback([arguments, &status] {
    status = timepipe::cmd_data_ngram(arguments->file, arguments->held_out,
                                      arguments->max_order);
  });
}

int run(int* argc, char*** argv) {
  CLI::App app(
      "Trains TTT-layer language models on long sequences, pipelined "
      "through time over ranks.",
      "timepipe");
  app.require_subcommand(0, 1);
  app.footer(
      "Example:\n  timepipe train configs/demo.textproto data.train=book.txt");
  int status = 0;

  CLI::App& train = *app.add_subcommand("train", "Train a model");
  ConfigArguments train_arguments;
  train_arguments.add_to(train);
  train.footer(
      "Example: a sequence shared by two ranks\n"
      "  mpirun -n 2 timepipe train configs/demo.textproto parallel.time=2 \\\n"
      "    data.train=book.txt optimizer.steps=100");
  train.callback([&] {
    status = timepipe::cmd_train(argc, argv, train_arguments.path,
                                 train_arguments.overrides);
  });

  CLI::App& checkpoint =
      *app.add_subcommand("checkpoint", "List, check and compare checkpoints");
  checkpoint.require_subcommand(1);
  checkpoint.footer("Example:\n  timepipe checkpoint diff runs/a runs/b");
  std::string first, second;
  CLI::App& list = *checkpoint.add_subcommand(
      "list", "Check and print the checkpoints of a run folder");
  list.add_option("RUN_DIR", first, "Run folder")->required();
  list.callback([&] { status = timepipe::cmd_checkpoint_list(first); });
  CLI::App& verify = *checkpoint.add_subcommand(
      "verify", "Check every checksum of a checkpoint");
  verify.add_option("CHECKPOINT", first, "Its folder")->required();
  verify.callback([&] { status = timepipe::cmd_checkpoint_verify(first); });
  CLI::App& diff = *checkpoint.add_subcommand(
      "diff", "Name the first difference of two checkpoints, if any");
  diff.add_option("A", first, "Checkpoint or run folder")->required();
  diff.add_option("B", second, "Checkpoint or run folder")->required();
  diff.callback([&] { status = timepipe::cmd_checkpoint_diff(first, second); });

  CLI::App& data = *app.add_subcommand("data", "Look at files of tokens");
  data.require_subcommand(1);
  add_data_ngram(data, status);

  CLI::App& config = *app.add_subcommand(
      "config", "Print the resolved and validated configuration");
  ConfigArguments config_arguments;
  config_arguments.add_to(config);
  config.footer(
      "Example:\n  timepipe config configs/demo.textproto model.layer=mlp");
  config.callback([&] {
    std::cout << timepipe::to_text(timepipe::load_config(
        config_arguments.path, config_arguments.overrides));
  });

  try {
    app.parse(*argc, *argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::cerr << "timepipe: " << error.what() << " (see timepipe --help)\n";
    return kUserMistake;
  }
  if (!app.get_subcommands().empty()) return status;
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
    return run(&argc, &argv);
  } catch (const timepipe::Blocked& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kBlocked;
  } catch (const std::exception& error) {
    std::cerr << "timepipe: " << error.what() << "\n";
    return kUserMistake;
  }
}
