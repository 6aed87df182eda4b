import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

export interface ServerCertificate {
  /** Path of the authority's certificate. */
  authority: string;
  /** As PEM. */
  certificate: string;
  key: string;
}

/** Makes, in `folder`, an authority and a certificate by it for servers of these names, both good for a day. */
export async function serverCertificate(folder: string, names: string[]): Promise<ServerCertificate> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  const authority = ['-x509', '-subj', '/CN=tests', '-keyout', file('ca.key'), '-out', file('ca.crt')];
  await execa('openssl', ['req', ...newKey, ...authority]);
  const extensions = `subjectAltName = ${names.map((name) => `DNS:${name}`).join(', ')}\n`;
  writeFileSync(file('server.ext'), extensions);
  const request = ['-subj', '/CN=server', '-keyout', file('server.key'), '-out', file('server.csr')];
  await execa('openssl', ['req', ...newKey.slice(0, -2), ...request]);
  const signed = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '1'];
  const output = ['-extfile', file('server.ext'), '-out', file('server.crt')];
  await execa('openssl', ['x509', '-req', '-in', file('server.csr'), ...signed, ...output]);
  return {
    authority: file('ca.crt'),
    certificate: readFileSync(file('server.crt'), 'utf8'),
    key: readFileSync(file('server.key'), 'utf8'),
  };
}
