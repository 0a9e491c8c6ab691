"""Several ingest workers share the organizations of a host by leases that end with a worker's database session.

sharing.py  what is whose, pure    leasing.py     what one worker holds
postgres_leases.py  the locks      lease_list.py  who holds what, for people
"""
