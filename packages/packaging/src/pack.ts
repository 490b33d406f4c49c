// Packs the packages that are published: pnpm replaces workspace versions and development's exports.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root folder of the repository. */
export const root: string = fileURLToPath(new URL('../../../', import.meta.url));

/** KiB of each packed file at most. A package that outgrows its budget says so here, before its users do. */
export const budgets = {
  core: 460,
  'gpu-kernels': 190,
  'backend-cpu': 240,
  'backend-webgpu': 65,
  'backend-cuda': 230,
  diffusers: 750,
  cli: 75,
  'emoji-64': 11_500,
} as const;

/** A published package, without its scope. */
export type Name = keyof typeof budgets;

/** Every published package. */
export const names = Object.keys(budgets) as Name[];

/** The fields of a package.json that matter to its users. */
export interface Manifest {
  readonly version: string;
  readonly license?: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** A packed package. */
export interface Packed {
  /** Path of the .tgz. */
  readonly tarball: string;
  /** Where it is unpacked. */
  readonly folder: string;
  /** Paths of its files in there. */
  readonly files: readonly string[];
  readonly manifest: Manifest;
}

/** What a program said, and whether it went well. */
export interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program; what hangs is killed, far away from how long any machine takes. */
export function run(command: string, args: readonly string[], cwd: string): Ran {
  const path = [process.env['DARKROOM_RUNTIMES'], process.env['PATH']].filter(Boolean).join(delimiter);
  // npm tells its scripts of the package that it runs; an npm that they start must not take it for its own.
  const env = Object.entries(process.env).filter(
    ([key]) => !/^npm_(config_local_prefix|package_|lifecycle_)/i.test(key),
  );
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...Object.fromEntries(env), PATH: path },
    maxBuffer: 64 * 2 ** 20,
    timeout: 1_500_000,
  });
  return { status, out: stdout ?? '', err: `${stderr ?? ''}${error?.message ?? ''}` };
}

/** As `run`, and its standard output. @throws Error with all that it said, where it failed */
export function succeed(command: string, args: readonly string[], cwd: string): string {
  const { status, out, err } = run(command, args, cwd);
  if (status === 0) return out;
  throw new Error(`${command} ${args.join(' ')}: exit code ${status}\n${out}${err}`);
}

/** Packs all packages into a folder. */
export function packAll(folder: string): ReadonlyMap<Name, Packed> {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  const filters = names.flatMap((name) => ['--filter', `@darkroom/${name}`]);
  const options = ['--pack-destination', folder, '--json', '--config.ignore-scripts=true'];
  const said = succeed('npx', ['--yes', packageManager, '-r', ...filters, 'pack', ...options], root);
  const packed = JSON.parse(said.slice(said.indexOf('['))) as { name: string; filename: string }[];
  return new Map(
    packed.map(({ name, filename }) => [name.replace('@darkroom/', '') as Name, unpack(filename)]),
  );
}

/** Unpacks a tarball beside it. */
function unpack(tarball: string): Packed {
  const folder = tarball.replace(/\.tgz$/, '');
  mkdirSync(folder);
  succeed('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1'], folder);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return {
    tarball,
    folder,
    files: files.filter((path) => statSync(join(folder, path)).isFile()),
    manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest,
  };
}

/** Every entry point of packages, as programs import it. */
export function entriesOf(packed: ReadonlyMap<Name, Packed>): readonly string[] {
  return [...packed].flatMap(([name, { manifest }]) =>
    Object.keys(manifest.exports)
      .filter((key) => key !== './package.json')
      .map((key) => `@darkroom/${name}${key.slice(1)}`),
  );
}
