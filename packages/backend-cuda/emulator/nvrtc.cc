// A libnvrtc that runs g++: the kernel's text, with the emulator's headers in front and an entry for each kernel behind,
// becomes a shared object. Its log names the kernel's own lines. -D, -I and -std are passed on, -arch sets __CUDA_ARCH__.
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default"))) int

extern char** environ;

enum { kSuccess = 0, kCompilation = 6, kInternal = 11 };

struct Program {
  std::string source, name, log, binary;
};

static std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/** The text with comments blanked, so that a kernel in one is not found. */
static std::string withoutComments(std::string text) {
  for (size_t i = 0; i + 1 < text.size(); i++) {
    if (text[i] != '/' || (text[i + 1] != '/' && text[i + 1] != '*')) continue;
    const bool line = text[i + 1] == '/';
    size_t end = text.find(line ? "\n" : "*/", i + 2);
    end = end == std::string::npos ? text.size() : line ? end : end + 2;
    for (; i < end; i++)
      if (text[i] != '\n') text[i] = ' ';
  }
  return text;
}

/** Names of the kernels defined in the text: the identifier before a parameter list and a body, after __global__. */
static std::vector<std::string> kernels(const std::string& source) {
  const std::string text = withoutComments(source);
  std::vector<std::string> out;
  auto space = [&](size_t i) {
    while (i < text.size() && isspace(static_cast<unsigned char>(text[i]))) i++;
    return i;
  };
  auto word = [&](size_t i) { return isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_'; };
  for (size_t at = 0; (at = text.find("__global__", at)) != std::string::npos;) {
    at += strlen("__global__");
    std::string name;
    for (size_t i = at; i < text.size() && text[i] != ';' && text[i] != '{';) {
      if (word(i)) {
        const size_t start = i;
        while (i < text.size() && word(i)) i++;
        name = text.substr(start, i - start);
      } else if (text[i] == '(') {
        int depth = 0;
        do depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
        while (++i < text.size() && depth > 0);
        if (name != "__launch_bounds__" && space(i) < text.size() && text[space(i)] == '{') out.push_back(name);
      } else {
        i++;
      }
    }
  }
  return out;
}

/** The folder of the emulator's headers: told by the environment, else where they lay when this was built. */
static std::string includes() {
  const char* told = getenv("DARKROOM_CUDA_EMULATOR_INCLUDE");
  return told && *told ? told : EMULATOR_INCLUDE;
}

static int runCompiler(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const auto& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  int status = posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (status != 0) return -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/**
 * The option that makes g++ find the headers compiled ahead, a third of what a kernel takes; made where they are missing,
 * beside this library. Each set of options has a folder of its own: g++ crashes on headers that it takes for fitting and
 * that were compiled otherwise. Empty where that fails: then g++ reads the headers themselves.
 */
static std::string precompiled(std::vector<std::string> command, const std::string& log) {
  static std::mutex one;
  std::lock_guard<std::mutex> hold(one);
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&precompiled), &self) == 0) return "";
  const std::string library = self.dli_fname;
  std::string options = std::to_string(EMULATOR_VERSION);
  for (const auto& option : command) options += ' ' + option;
  const std::string folder = library.substr(0, library.rfind('/') + 1) + "headers-" +
                             std::to_string(std::hash<std::string>{}(options));
  const std::string file = folder + "/cuda_emulator.h.gch";
  if (access(file.c_str(), R_OK) == 0) return "-I" + folder;
  mkdir(folder.c_str(), 0777);
  // Renamed when whole: several processes may begin at once.
  const std::string part = folder + "/part-" + std::to_string(getpid());
  for (const auto& last : {std::string("-x"), std::string("c++-header"), includes() + "/cuda_emulator.h",
                           std::string("-o"), part})
    command.push_back(last);
  if (runCompiler(command, log) == 0 && rename(part.c_str(), file.c_str()) == 0) return "-I" + folder;
  unlink(part.c_str());
  return "";
}

/** 0.<digest of the headers>: never that of a real NVRTC. */
API nvrtcVersion(int* major, int* minor) { return *major = 0, *minor = EMULATOR_VERSION, kSuccess; }
extern "C" __attribute__((visibility("default"))) const char* nvrtcGetErrorString(int code) {
  return code == kCompilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR (emulator)";
}
API nvrtcCreateProgram(Program** out, const char* source, const char* name, int, const char* const*,
                       const char* const*) {
  *out = new Program{source, name && *name ? name : "kernel.cu", "", ""};
  return kSuccess;
}

API nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  char folder[] = "/tmp/darkroom-kernel-XXXXXX";
  if (!mkdtemp(folder)) return program->log = "no temporary folder", kInternal;
  const std::string base = std::string(folder) + "/", source = base + "k.cc", object = base + "k.so", log = base + "log";
  {
    std::ofstream file(source);
    std::string name = program->name;
    for (char& c : name)
      if (c == '"' || c == '\\' || c == '\n') c = '_';
    file << "#include \"cuda_emulator.h\"\n#line 1 \"" << name << "\"\n" << program->source << "\n";
    for (const auto& kernel : kernels(program->source)) file << "EMU_EXPORT(" << kernel << ")\n";
  }
  const char* compiler = getenv("CXX");
  std::vector<std::string> command = {compiler && *compiler ? compiler : "g++", "-std=c++17", "-fPIC",
                                      "-fvisibility=hidden", "-w", "-fno-exceptions", "-U_FORTIFY_SOURCE",
                                      "-fno-stack-protector", "-fcf-protection=none", "-fno-strict-aliasing"};
  const char* effort = getenv("DARKROOM_CUDA_EMULATOR_FLAGS");
  command.push_back(effort && *effort ? effort : "-O2");
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    for (const char* flag : {"-mavx2", "-mfma", "-mf16c"}) command.push_back(flag);
  for (int i = 0; i < count; i++) {
    const std::string option = options[i];
    const size_t arch = option.find("sm_");
    if (option.rfind("-D", 0) == 0 || option.rfind("-I", 0) == 0 || option.rfind("-std", 0) == 0)
      command.push_back(option);
    else if (option == "-fmad=false" || option == "--fmad=false")
      command.push_back("-ffp-contract=off");
    else if (arch != std::string::npos)
      command.push_back("-D__CUDA_ARCH__=" + std::to_string(atoi(option.c_str() + arch + 3)) + "0");
  }
  const std::string ahead = precompiled(command, log);
  const auto compile = [&](const std::string& more) {
    auto whole = command;
    if (!more.empty()) whole.push_back(more);
    for (const auto& last : {"-I" + includes(), std::string("-shared"), source, std::string("-o"), object})
      whole.push_back(last);
    return runCompiler(whole, log);
  };
  int code = compile(ahead);
  if (code != 0 && !ahead.empty()) code = compile("");
  program->log = read(log);
  if (code == 0) program->binary = read(object);
  if (code == -1) program->log = "the emulator needs g++: " + command[0] + " could not be run\n" + program->log;
  for (const auto& file : {source, object, log}) unlink(file.c_str());
  rmdir(folder);
  return code == 0 ? kSuccess : code == -1 ? kInternal : kCompilation;
}

API nvrtcGetProgramLogSize(Program* program, size_t* out) { return *out = program->log.size() + 1, kSuccess; }
API nvrtcGetProgramLog(Program* program, char* out) {
  return memcpy(out, program->log.c_str(), program->log.size() + 1), kSuccess;
}
API nvrtcGetCUBINSize(Program* program, size_t* out) { return *out = program->binary.size(), kSuccess; }
API nvrtcGetCUBIN(Program* program, char* out) {
  return memcpy(out, program->binary.data(), program->binary.size()), kSuccess;
}
API nvrtcDestroyProgram(Program** program) { return delete *program, kSuccess; }
