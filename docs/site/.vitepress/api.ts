// The reference of every export, made by TypeDoc from the doc comments: plain pages below api/ of the site.

import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application } from 'typedoc';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const packages = ['diffusers', 'core', 'backend-cpu', 'backend-webgpu', 'backend-cuda'];

/** What programs import, and the file that exports it. Helpers of tests are left out. */
function entryPoints(): ReadonlyMap<string, string> {
  const entries = new Map<string, string>();
  for (const folder of packages) {
    const manifest = join(root, 'packages', folder, 'package.json');
    const { name, exports } = JSON.parse(readFileSync(manifest, 'utf8')) as {
      readonly name: string;
      readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
    };
    for (const [path, conditions] of Object.entries(exports)) {
      const source = typeof conditions === 'string' ? undefined : conditions['@darkroom/source'];
      if (source === undefined || path === './testing') continue;
      entries.set(join(dirname(manifest), source), join(name, path));
    }
  }
  return entries;
}

/**
 * Writes the reference to `out`. @throws Error where the sources do not compile, or with TypeDoc's words where a comment
 * refers to what is not there.
 */
export async function writeReference(out: string): Promise<void> {
  const entries = entryPoints();
  // TypeDoc calls a module by its file below the folder of all packages.
  const names = new Map(
    [...entries].map(([file, name]) => [
      relative(join(root, 'packages'), file).replace(/(\/index)?\.ts$/, ''),
      name,
    ]),
  );
  const app = await Application.bootstrap({
    name: 'Darkroom',
    entryPoints: [...entries.keys()],
    tsconfig: join(root, 'tsconfig.lint.json'),
    readme: 'none',
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    disableSources: true,
    hideGenerator: true,
    navigationLinks: { 'The guides': '/index.html' },
    validation: { notExported: false },
    logLevel: 'Warn',
  });
  const project = await app.convert();
  if (!project?.children) throw new Error('api reference: the sources do not compile');
  for (const module of project.children) {
    const name = names.get(module.name);
    if (name === undefined) throw new Error(`api reference: no package exports the module ${module.name}`);
    module.name = name;
  }
  app.validate(project);
  await app.generateDocs(project, out);
  if (app.logger.hasWarnings() || app.logger.hasErrors())
    throw new Error('api reference: TypeDoc has complaints (above)');
}
