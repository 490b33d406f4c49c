// The site's pages and the packages' READMEs: every code block compiles against the packages' sources, those marked so run, the Korean pages
// have the same ones, and the site builds, which fails on a dead link.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Image, schedulerAliases } from '@darkroom/diffusers';
import { blocksOf, pageNames, pageText, readmes, shortened } from './blocks.ts';

const site = fileURLToPath(new URL('../', import.meta.url));
mkdirSync(join(site, '.cache'), { recursive: true });
/** Below the package, so that programs find the packages that a reader installs. */
const folder = mkdtempSync(join(site, '.cache', 'blocks-'));
const scratch = mkdtempSync(join(tmpdir(), 'darkroom-site-'));
afterAll(() => {
  for (const one of [folder, scratch]) rmSync(one, { recursive: true, force: true });
});

const blocks = [...pageNames.map((name) => [name, pageText(name)] as const), ...readmes].flatMap(
  ([name, text]) => blocksOf(name, text),
);
const fileOf = (name: string): string => join(folder, `${name.replace(/\W+/g, '-')}.ts`);

/** Messages of the compiler for the files at `paths`. */
function complaints(paths: readonly string[]): string[] {
  const { config } = ts.readConfigFile(join(site, 'tsconfig.json'), (path) => readFileSync(path, 'utf8'));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, site);
  const program = ts.createProgram([...paths], options);
  const ours = paths.map((path) => program.getSourceFile(path)!);
  return ours
    .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
    .map(({ file, start, messageText }) => {
      const { line } = file!.getLineAndCharacterOfPosition(start ?? 0);
      return `${file!.fileName.slice(folder.length + 1)}:${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
}

describe('code blocks', () => {
  beforeAll(() => {
    for (const { name, program } of blocks) writeFileSync(fileOf(name), shortened(program));
  });

  test('there are many, in the guides and the READMEs', () => {
    expect(readmes.size).toBeGreaterThanOrEqual(7);
    expect(blocks.length).toBeGreaterThan(30);
    expect(blocks.filter(({ runs }) => runs).length).toBeGreaterThan(12);
  });

  test('all compile', () => {
    expect(complaints(blocks.map(({ name }) => fileOf(name)))).toEqual([]);
  });

  test('what does not compile is found', () => {
    const wrong = blocksOf('wrong.md', "```ts\nimport { cpu } from '@darkroom/backend-cpu';\ncpu(3);\n```\n");
    writeFileSync(fileOf('wrong'), wrong[0]!.program);
    expect(complaints([fileOf('wrong')])).toEqual([expect.stringContaining('wrong.ts:2: ')]);
  });

  const running = blocks.filter(({ name, runs }) => runs && !name.startsWith('ko/'));
  test.each(running.map(({ name }) => name))('%s runs', async (name) => {
    const before = process.cwd();
    process.chdir(scratch);
    try {
      await import(fileOf(name));
    } finally {
      process.chdir(before);
    }
  });

  test('the first one draws', () => {
    expect(readFileSync(join(scratch, 'fox.png')).subarray(1, 4).toString()).toBe('PNG');
  });
});

test.each(pageNames.filter((name) => name.startsWith('ko/')))(
  '%s has the code of the English page',
  (name) => {
    const english = name.slice('ko/'.length);
    const code = (page: string): string[] =>
      [...pageText(page).matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(
        ([, words, text]) => `${words}\n${text!.replace(/\s*\/\/.*/g, '')}`,
      );
    expect(code(name)).toEqual(code(english));
    const headings = (page: string): number => [...pageText(page).matchAll(/^##? /gm)].length;
    expect(headings(name)).toBe(headings(english));
  },
);

test('the gallery shows every scheduler, in four pictures of 64 pixels', async () => {
  const page = pageText('schedulers.md');
  for (const [name, { className }] of Object.entries(schedulerAliases)) {
    const file = `schedulers/${name.replaceAll('+', 'p')}.webp`;
    expect(page).toContain(`### \`${name}\`\n\n\`${className}\`.`);
    expect(page).toContain(`![${name}: 4, 8, 16 and 30 steps](./${file})`);
    const { width, height } = await Image.load(join(site, 'pages', file));
    expect([width, height], file).toEqual([256, 64]);
  }
});

test('the site builds, without a dead link', () => {
  const out = join(scratch, 'dist');
  const vitepress = join(site, 'node_modules', 'vitepress', 'bin', 'vitepress.js');
  // Without Vitest's own variables, under which VitePress would build for tests.
  const env = { ...process.env, NODE_ENV: 'production', VITEST: '' };
  const done = spawnSync(process.execPath, [vitepress, 'build', site, '--outDir', out], {
    encoding: 'utf8',
    env,
  });
  expect(`${done.stdout}${done.stderr}`).toContain('build complete');
  expect(done.status).toBe(0);
  for (const page of [
    'index',
    'memory-and-speed',
    'ko/memory-and-speed',
    'pipelines',
    'schedulers',
    'api/index',
    'results/2026-11-27-h200',
  ])
    expect(existsSync(join(out, `${page}.html`))).toBe(true);
  // The reference names modules as programs import them.
  const exported = { diffusers: 'StableDiffusionPipeline', core_graph: 'planGraph', 'backend-cuda': 'cuda' };
  for (const [module, name] of Object.entries(exported))
    expect(readFileSync(join(out, `api/modules/_darkroom_${module}.html`), 'utf8')).toContain(`>${name}<`);
});
