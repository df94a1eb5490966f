#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "launcher/cmd_data.h"
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

void add_data(CLI::App& app, int& status) {
  CLI::App& data = *app.add_subcommand("data", "Make and look at token files");
  data.require_subcommand(1);
  data.footer("Example:\n  timepipe data prepare --help");

  auto prepare_options = std::make_shared<timepipe::PrepareOptions>();
  timepipe::PrepareOptions& p = *prepare_options;
  p.threads = static_cast<int>(
      std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
  CLI::App& prepare = *data.add_subcommand(
      "prepare",
      "Make a token file of texts. The official JAX code joins documents with "
      "the tokenizer's end-of-document id after each: that is the default "
      "here, where the tokenizer has one");
  prepare
      .add_option("INPUT", p.inputs,
                  ".jsonl: each line an object, a document in one field; any "
                  "other: a text, one document")
      ->required();
  prepare.add_option("--out", p.out, "Token file to be made, .safetensors")
      ->required();
  prepare
      .add_option("--tokenizer", p.tokenizer,
                  "bytes, or the path of a sentencepiece model")
      ->capture_default_str();
  prepare.add_option("--field", p.field, "Field of .jsonl with the document")
      ->capture_default_str();
  prepare
      .add_option("--threads", p.threads,
                  "Threads; the file is the same for any number")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  // Functions: a flag's variable would be set without the flag too.
  prepare.add_flag_function(
      "--bos,!--no-bos", [&p](int64_t count) { p.bos = count > 0; },
      "Put the tokenizer's start id before each document");
  prepare.add_flag_function(
      "--eos,!--no-eos", [&p](int64_t count) { p.eos = count > 0; },
      "Put the tokenizer's end id after each document; the default if it has "
      "one");
  prepare.add_flag("--overwrite", p.overwrite, "Replace --out if it exists");
  prepare.footer(
      "Examples:\n"
      "  timepipe data prepare books/*.txt --out books.safetensors\n"
      "  timepipe data prepare pile.jsonl --field text \\\n"
      "    --tokenizer llama.model --out pile.safetensors");
  prepare.callback([prepare_options, &status] {
    status = timepipe::cmd_data_prepare(*prepare_options);
  });

  auto info_options = std::make_shared<timepipe::DataInfoOptions>();
  timepipe::DataInfoOptions& i = *info_options;
  CLI::App& info = *data.add_subcommand(
      "info", "Print tokens, documents, tokenizer and largest id of files");
  info.add_option("FILE", i.files,
                  "Token files (.safetensors, .bin, .npy) or texts")
      ->required();
  info.add_option("--sequence-length", i.sequence_length,
                  "Count the sequences of so many tokens")
      ->check(CLI::PositiveNumber);
  info.add_option("--vocab-size", i.vocab_size, "Check that every id is below")
      ->check(CLI::PositiveNumber);
  info.add_option("--token-type", i.raw,
                  "uint16 or uint32: tokens of a .bin without a header")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, timepipe::StoredToken>{
              {"uint16", timepipe::StoredToken::kU16},
              {"uint32", timepipe::StoredToken::kU32}}));
  info.footer(
      "Example:\n"
      "  timepipe data info pile.safetensors --sequence-length 2048 "
      "--vocab-size 32000");
  info.callback([info_options, &status] {
    status = timepipe::cmd_data_info(*info_options);
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
      "    data.train=book.txt optimizer.steps=100\n"
      "SIGINT (Ctrl-C), SIGTERM or SIGUSR1 to any rank: a run with run_dir\n"
      "saves at the end of the step and leaves, at a second signal at once;\n"
      "the same command goes on from there. Without run_dir it leaves at\n"
      "once. Exit status: 0 when all steps are done, 128 + signal (130, 143,\n"
      "138) when one ended the run before, so that it doesn't look finished,\n"
      "1 for a mistake, 75 when a rank is gone.");
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

  add_data(app, status);

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
