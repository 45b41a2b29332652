# A host with an agent. The configuration is checked before it gets into its place. Settings come from
# `salt://sigtrail/sigtrail.yaml`, policies from salt://sigtrail/policy.d.
sigtrail:
  pkg.installed: []
  service.running:
    - enable: true
    - require:
        - pkg: sigtrail
    - watch:
        - file: /etc/sigtrail/sigtrail.yaml

/etc/sigtrail/policy.d:
  file.recurse:
    - source: salt://sigtrail/policy.d
    - user: root
    - group: sigtrail
    - dir_mode: "0750"
    - file_mode: "0640"
    - require:
        - pkg: sigtrail

/etc/sigtrail/sigtrail.yaml:
  file.managed:
    - source: salt://sigtrail/sigtrail.yaml
    - template: jinja
    - user: root
    - group: sigtrail
    - mode: "0640"
    - check_cmd: /usr/bin/sigtrail config --check
    - require:
        - file: /etc/sigtrail/policy.d

# a reload is enough for policies, and they are checked before
check the policies:
  cmd.run:
    - name: /usr/bin/sigtrail policy check /etc/sigtrail/policy.d/* && /bin/systemctl reload sigtrail
    - onchanges:
        - file: /etc/sigtrail/policy.d
    - require:
        - service: sigtrail
