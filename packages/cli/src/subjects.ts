// What the embedded model knows, and a hint for prompts beside it: it draws nonsense for them, and says nothing.

import { Command } from 'commander';
import { nearest } from '@darkroom/core';
import { backgrounds, subjects } from '@darkroom/emoji-64';

export function subjectsCommand(): Command {
  return new Command('subjects').description('list what the embedded model can draw').action(() => {
    process.stdout.write(`${subjects.join('\n')}\n\non backgrounds: ${backgrounds.join(', ')}\n`);
  });
}

/** Other words for subjects, as people say them. */
const synonyms: Readonly<Record<string, string>> = {
  kitten: 'cat', puppy: 'dog', wolf: 'fox', pony: 'horse', bunny: 'koala', bird: 'owl', hen: 'chicken', bee: 'honeybee',
  shark: 'fish', tree: 'evergreen tree', pine: 'evergreen tree', flower: 'sunflower', clover: 'four leaf clover',
  apple: 'red apple', burger: 'hamburger', fries: 'french fries', chips: 'french fries', donut: 'doughnut',
  cake: 'cupcake', beer: 'beer mug', face: 'grinning face', smiley: 'grinning face', heart: 'red heart',
  moon: 'full moon', car: 'automobile', truck: 'automobile', boat: 'sailboat', ship: 'sailboat', spaceship: 'rocket',
  home: 'house', castle: 'house', building: 'house', football: 'soccer ball', ball: 'soccer ball', ufo: 'alien',
  person: 'astronaut', man: 'astronaut', woman: 'astronaut', knight: 'robot', dragon: 'unicorn', mountain: 'snowman',
}; // prettier-ignore

/** A hint naming what is nearest to a prompt that the embedded model does not know; undefined where it does. */
export function hintFor(prompt: string): string | undefined {
  const words = prompt.toLowerCase().match(/\p{L}+/gu) ?? [];
  const text = ` ${words.map(singular).join(' ')} `;
  const isIn = (name: string): boolean => text.includes(` ${name.split(' ').map(singular).join(' ')} `);
  if (!subjects.some(isIn)) {
    const near = nearestSubject(words);
    return `hint: the embedded model draws ${subjects.length} subjects, and none is in this prompt; ${near === undefined ? '' : `the nearest is '${near}'; `}darkroom subjects lists them`;
  }
  const on = / on an? (\p{L}+) background /u.exec(text)?.[1];
  if (on !== undefined && !backgrounds.includes(on))
    return `hint: the embedded model draws the backgrounds ${backgrounds.join(', ')}, not ${on}`;
  return undefined;
}

const singular = (word: string): string =>
  word.length > 3 && !word.endsWith('ss') ? word.replace(/(?<=x|ch|sh|ss)es$|s$/, '') : word;

function nearestSubject(words: readonly string[]): string | undefined {
  for (const word of words) {
    const one = singular(word);
    if (Object.hasOwn(synonyms, one)) return synonyms[one];
    const part = subjects.find(
      (subject) => subject.split(' ').map(singular).includes(one) || subject === one,
    );
    if (part !== undefined) return part;
  }
  // Short words are near to everything.
  for (const word of words.filter((w) => w.length > 3)) {
    const near = nearest(word, subjects);
    if (near !== undefined) return near;
  }
  return undefined;
}
