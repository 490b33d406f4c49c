// Places of CUDA's libraries. Order for each: its environment variable, the `nvidia/*/lib` folders of Python
// packages, $CUDA_HOME, the loader's own search by bare name. Opening is the addon's; here nothing is loaded.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** CUDA's libraries that the backend opens. */
export type LibraryName = 'cuda' | 'nvrtc' | 'cublasLt' | 'cudnn';
export const libraryNames: readonly LibraryName[] = ['cuda', 'nvrtc', 'cublasLt', 'cudnn'];

/** A path to try, and the part of the search that proposes it. */
export interface Candidate {
  readonly path: string;
  readonly from: string;
}

/** Places to search for libraries. */
export interface SearchOptions {
  /** Folders that hold `nvidia/…` (site-packages, or what pip --target was given), asked before python3's own. */
  readonly sitePackages?: readonly string[];
  /** Asks python3 for its site-packages; default true. */
  readonly python?: boolean;
  /** CUDA's major version of the driver: newer libraries go last, because their kernels may not load. */
  readonly driverMajor?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The CPU emulator in place of libcuda and NVRTC. */
  readonly emulator?: boolean;
}

interface Search {
  readonly variable: string;
  readonly file: RegExp;
  /** Tried by the loader, newest first. */
  readonly bare: readonly string[];
}

const searches: Readonly<Record<LibraryName, Search>> = {
  // The driver comes with the system, never with Python: the last two are WSL's and containers'.
  cuda: {
    variable: 'DARKROOM_LIBCUDA',
    file: /^libcuda\.so\.1$/,
    bare: ['libcuda.so.1', '/usr/lib/wsl/lib/libcuda.so.1', '/usr/local/nvidia/lib64/libcuda.so.1'],
  },
  nvrtc: {
    variable: 'DARKROOM_LIBNVRTC',
    file: /^libnvrtc\.so\.(\d+)(\.[\d.]+)?$/,
    bare: ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so.11.2', 'libnvrtc.so'],
  },
  cublasLt: {
    variable: 'DARKROOM_LIBCUBLASLT',
    file: /^libcublasLt\.so\.(\d+)$/,
    bare: ['libcublasLt.so.13', 'libcublasLt.so.12', 'libcublasLt.so.11', 'libcublasLt.so'],
  },
  cudnn: {
    variable: 'DARKROOM_LIBCUDNN',
    file: /^libcudnn\.so\.(\d+)$/,
    bare: ['libcudnn.so.9', 'libcudnn.so'],
  },
};

/** Paths in the order in which they are to be tried. Lazy: python3 is asked only when the first ones do not do. */
export function* candidates(name: LibraryName, options: SearchOptions = {}): Generator<Candidate> {
  const search = searches[name];
  const env = options.env ?? process.env;
  const told = env[search.variable];
  if (told) {
    // A library that the user names is opened or refused, never replaced by another.
    yield { path: told, from: search.variable };
    return;
  }
  if (options.emulator) {
    if (name === 'cuda' || name === 'nvrtc')
      yield { path: join(nativeFolder(), `lib${name}_emulator.so`), from: 'emulator' };
    return;
  }
  const late: Candidate[] = [];
  const sorted = function* (found: readonly Candidate[]): Generator<Candidate> {
    for (const candidate of found) {
      if (name !== 'cudnn' && majorOf(candidate.path) > (options.driverMajor ?? Infinity))
        late.push(candidate);
      else yield candidate;
    }
  };
  if (name !== 'cuda') {
    yield* sorted((options.sitePackages ?? []).flatMap((f) => inPython(search.file, f)));
    if (options.python !== false) yield* sorted(pythonFolders(env).flatMap((f) => inPython(search.file, f)));
    for (const home of cudaHomes(env)) yield* sorted(inFolders(search.file, home));
  }
  yield* sorted(search.bare.map((path) => ({ path, from: 'the system loader' })));
  yield* late;
}

/** NVRTC's builtins beside the NVRTC at `path`, which it would otherwise look for by bare name. */
export function builtinsOf(path: string): string | undefined {
  const folder = dirname(path);
  if (folder === '.' || !existsSync(folder)) return undefined;
  const version = majorOf(path);
  const found = readdirSync(folder).filter((f) => /^libnvrtc-builtins\.so\.\d/.test(f));
  const fit = found.filter((f) => version === 0 || majorOf(f) === version).sort(newestFirst);
  return fit[0] === undefined ? undefined : join(folder, fit[0]);
}

/** The folder into which native/build.mjs puts addon and emulator, seen from src/node and from dist/node. */
export function nativeFolder(): string {
  return join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'dist', 'native', 'Release');
}

const majorOf = (path: string): number => Number(/\.so\.(\d+)/.exec(basename(path))?.[1] ?? 0);
const newestFirst = (a: string, b: string): number => b.localeCompare(a, 'en', { numeric: true });

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // missing or closed to us
  }
}

function inFolder(file: RegExp, folder: string, from: string): Candidate[] {
  const names = list(folder).filter((f) => file.test(f));
  return names.sort(newestFirst).map((f) => ({ path: join(folder, f), from }));
}

/** nvidia/cu13/lib, nvidia/cudnn/lib, nvidia/cuda_nvrtc/lib: newest layout first. */
function inPython(file: RegExp, sitePackages: string): Candidate[] {
  const packages = list(join(sitePackages, 'nvidia')).sort(newestFirst);
  const found = packages.flatMap((p) => inFolder(file, join(sitePackages, 'nvidia', p, 'lib'), sitePackages));
  return found.sort((a, b) => newestFirst(basename(a.path), basename(b.path)));
}

function cudaHomes(env: Readonly<Record<string, string | undefined>>): string[] {
  const told = [env['CUDA_HOME'], env['CUDA_PATH']].filter((p): p is string => !!p);
  return [...new Set(told.length > 0 ? told : ['/usr/local/cuda'])];
}

function inFolders(file: RegExp, home: string): Candidate[] {
  const folders = ['lib64', 'lib', 'targets/x86_64-linux/lib', 'targets/sbsa-linux/lib'];
  return folders.flatMap((f) => inFolder(file, join(home, f), home));
}

const pythonAnswers = new Map<string, string[]>();
/** The site-packages of the python3 on PATH; starting it costs a tenth of a second, so it is asked once. */
function pythonFolders(env: Readonly<Record<string, string | undefined>>): string[] {
  const path = env['PATH'] ?? '';
  let answer = pythonAnswers.get(path);
  if (!answer) {
    const script = `import site,sys,os;print(${JSON.stringify(delimiter)}.join([p for p in sys.path if p.endswith("-packages")]+[site.getusersitepackages()]))`;
    const { status, stdout } = spawnSync('python3', ['-c', script], {
      encoding: 'utf8',
      timeout: 10_000,
      env: { ...process.env, PATH: path },
    });
    answer = status === 0 ? [...new Set(stdout.trim().split(delimiter).filter(Boolean))] : [];
    pythonAnswers.set(path, answer);
  }
  return answer;
}
