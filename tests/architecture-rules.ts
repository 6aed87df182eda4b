import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Who may import what (docs/architecture.md), as data, with the reason that a failing test gives. */

export interface SourceFile {
  /** Relative to the project's root. */
  path: string;
  text: string;
}

interface Rule {
  because: string;
  /** The files that the rule is about. */
  files: RegExp;
  except?: RegExp;
  /** Imports that break it: matched against what is imported, relative paths resolved to the project's root. */
  mayNotImport?: RegExp;
  /** If given, every import that does not match breaks it. */
  mayOnlyImport?: RegExp;
  /** Text that breaks it. */
  mayNotContain?: RegExp;
}

const SERVICES = new URL('../services/', import.meta.url);

/** What a service's README calls its rules, without the `.ts`: "Begin with [src/order.ts](src/order.ts) ..., the rules". */
export function rulesOf(service: string): string | undefined {
  const readme = new URL(`${service}/README.md`, SERVICES);
  if (!existsSync(readme)) return undefined;
  return /\*\*Begin with\*\* \[src\/([\w-]+)\.ts\][^\n;]*, the rules\b/.exec(
    readFileSync(readme, 'utf8'),
  )?.[1];
}

/** The rules of each service and what is named after them (`order.ts`, `order-lines.ts`), which its other files keep for it: no I/O, no framework, no clock. */
const DOMAIN = new RegExp(
  `^services/(${readdirSync(SERVICES)
    .flatMap((service) => (rulesOf(service) ? [`${service}/src/${rulesOf(service)}`] : []))
    .join('|')})(-[a-z-]+)?\\.ts$`,
);
const CLOCK = /\b(process\.|Date\.now|new Date\(\)|Math\.random|fetch\()/;
const TEST = /\.test\.ts$|\/(testing|fixture[^/]*)\.ts$/;

const RULES: Rule[] = [
  {
    because: 'contracts are for everybody, also in other languages: they need zod and nothing else',
    files: /^packages\/contracts\//,
    except: TEST,
    mayOnlyImport: /^(zod|packages\/contracts\/.*)$/,
  },
  {
    because:
      'kit is the base of every service: it knows no message, no table of the shop and no business noun',
    files: /^packages\/kit\//,
    mayNotImport: /^(@sidecart\/|services\/|packages\/(?!kit\/))/,
  },
  {
    because: 'messaging carries any message: it is handed the catalogue, and knows none of it',
    files: /^packages\/messaging\//,
    mayNotImport: /^(@sidecart\/(?!kit\/)|services\/|packages\/(?!messaging\/))/,
  },
  {
    because: 'an event store keeps any history: it is handed the aggregate, and knows none of them',
    files: /^packages\/event-sourcing\//,
    mayNotImport: /^(@sidecart\/(?!kit\/|messaging\/)|services\/|packages\/(?!event-sourcing\/))/,
    except: TEST,
  },
  {
    because: 'domain rules do no I/O: time, ids and prices are arguments',
    files: DOMAIN,
    mayOnlyImport: new RegExp(
      `^(@sidecart/kit/domain-error|@sidecart/contracts/(common|money))$|${DOMAIN.source}`,
    ),
    mayNotContain: CLOCK,
  },
  {
    because: 'a process manager decides what is asked for and asks nobody: of messages it knows the types',
    files: /^services\/orders\/src\/checkout\.ts$/,
    mayOnlyImport:
      /^(@sidecart\/(contracts\/(common|money|catalog)|messaging\/outbox)|services\/orders\/src\/order-(lines|state|events)\.ts)$/,
    mayNotContain: new RegExp(
      `${CLOCK.source}|^import (?!type )[^;]*'@sidecart/(messaging|contracts/catalog)`,
      'm',
    ),
  },
  {
    because: 'routes and subscriptions turn requests into commands; queries are in store.ts',
    files: /^services\/[^/]+\/src\/(routes|subscriptions)\.ts$/,
    mayNotImport: /^(drizzle-orm|postgres)(\/|$)/,
  },
  {
    because: 'a service is reached through its sidecar and its messages, never by import',
    files: /^services\/([^/]+)\//,
    mayNotImport:
      /^(@sidecart\/(?!kit\/|messaging\/|event-sourcing\/|contracts\/)|local\/|generator\/|clients\/)/,
    except: TEST,
  },
  {
    because:
      'what is done to database and broker is the same in every mode of running the shop: it knows none of them',
    files: /^platform\//,
    except: TEST,
    mayNotImport: /^(@sidecart\/(?!kit\/)|services\/|local\/|generator\/|k8s\/|clients\/)/,
  },
  {
    because:
      "a simulator stands for somebody else's company: it knows nothing of the shop, and the shop nothing of it",
    files: /^provider\//,
    except: TEST,
    mayNotImport: /^(@sidecart\/|services\/|packages\/|local\/|generator\/|platform\/|k8s\/|clients\/)/,
  },
  {
    because: 'a client knows the public API and nothing behind it',
    files: /^clients\//,
    mayNotImport: /^(@sidecart\/(?!contracts\/)|services\/|packages\/)/,
  },
  {
    because: 'the runner stays small: what a service loads, it does not load, and migrations run in a child',
    files: /^local\//,
    except: TEST,
    mayNotImport: /^(drizzle-orm(\/|$)|services\/|@sidecart\/(kit|messaging)\/)/,
  },
  {
    because: 'the Dapr SDK has traps, and one adapter that takes them out',
    files: /^(packages|services|clients|platform|local|tests|bench)\//,
    except: /^packages\/kit\/src\/(dapr-sdk|dapr)\.ts$/,
    mayNotImport: /^@dapr\//,
  },
  {
    because: 'the environment is read once, at the entry: config.ts says what of it there is',
    files: /^(packages|services|platform|provider)\//,
    except:
      /^services\/[^/]+\/src\/main\.ts$|^packages\/kit\/src\/migrate\.ts$|^(platform|provider)\/main\.ts$|\.test\.ts$|\/fixture[^/]*\.ts$/,
    mayNotContain: /^(?!\s*(\*|\/\/)).*process\.env/m,
  },
  {
    because: 'names of broker components come from the generated topology, so that they cannot go stale',
    files: /^(packages|services|clients)\//,
    except: /\.generated\.ts$|\.test\.ts$|\/fixture[^/]*\.ts$/,
    mayNotContain: /['"`](pubsub|state)-[a-z]/,
  },
];

/** Why the file breaks the rules; empty when it keeps them. */
export function violations(file: SourceFile): string[] {
  return RULES.filter((rule) => rule.files.test(file.path) && !rule.except?.test(file.path)).flatMap(
    (rule) => {
      const refused = importsOf(file).filter(
        (imported) =>
          rule.mayNotImport?.test(imported) || (rule.mayOnlyImport && !rule.mayOnlyImport.test(imported)),
      );
      const text = rule.mayNotContain?.exec(file.text)?.[0].trim();
      return [
        ...refused.map((imported) => `${file.path} imports ${imported}: ${rule.because}`),
        ...(text === undefined ? [] : [`${file.path} says ${text}: ${rule.because}`]),
        ...(rule.files.source.startsWith('^services') ? otherServices(file, rule.because) : []),
      ];
    },
  );
}

/** A relative import that ends in another service's folder. */
function otherServices(file: SourceFile, because: string): string[] {
  const own = file.path.split('/').slice(0, 2).join('/');
  return importsOf(file)
    .filter((imported) => imported.startsWith('services/') && !imported.startsWith(`${own}/`))
    .map((imported) => `${file.path} imports ${imported}: ${because}`);
}

function importsOf({ path, text }: SourceFile): string[] {
  const statements = /(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"\n]+)['"]/g;
  return [...text.matchAll(statements)].map(([, imported = '']) =>
    imported.startsWith('.') ? resolve(path, imported) : imported,
  );
}

function resolve(from: string, relative: string): string {
  return new URL(relative, `file:///${from}`).pathname.slice(1);
}
